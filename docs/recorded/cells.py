"""How the tables of docs/results.md write numbers and names."""

from collections.abc import Sequence

UNSAID = ("-Instruct-sambanova", "-Instruct", "-instruct", "-it", "-2024-07-18", "-2024-08-06", "-20240307", "-Chat")
"""Ends of models' names that tables leave out."""


def number(value: float | None) -> str:
    """Return a quality or share with three decimals and without its leading zero."""
    return "-" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def signed(interval: Sequence[float]) -> str:
    """Return an interval as "+.012 [+.001, +.020]"."""
    text = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*(round(value, 3) + 0.0 for value in interval))  # no "-.000"
    return text.replace("+0.", "+.").replace("-0.", "-.")


def percent(value: float) -> str:
    """Return a share in whole per cent."""
    return f"{100 * value:.0f}%"


def short(name: str) -> str:
    """Return a model's name as a table has it."""
    for end in UNSAID:
        name = name.removesuffix(end)
    return name.removeprefix("Meta-").replace("FuseChat-", "FC-")
