"""Shared by all that runs a model with torch: loading without notes and bars, and where."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress bars and notes while loading, such as on heads that an encoder does not use."""
    from transformers.utils import logging as transformers_logging

    bars: Any = transformers_logging

    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    levels, had_bars = [logger.level for logger in loggers], bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            bars.enable_progress_bar()


def best_device() -> str:
    """Return the kind of accelerator of this machine, or `cpu`."""
    import torch

    # Not `current_accelerator(check_available=True)`, which torch 2.6 does not know.
    if not torch.accelerator.is_available():
        return "cpu"
    accelerator: Any = torch.accelerator.current_accelerator()
    return str(accelerator.type)
