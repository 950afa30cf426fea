"""Marks on options of configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operational:
    """Marks an option of how a model or a signal is run, how fast or at what price: it can change no answer or score.

    A calibrated threshold still holds if such an option changes; a change of any other option may invalidate it.
    """


OPERATIONAL = Operational()
"""For the annotation where an option is declared: `slots: Annotated[int, OPERATIONAL] = ...`."""
