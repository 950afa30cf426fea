"""Models that several tiers of a cascade name: the first of these tiers asks them, the others get their answers."""

from collections.abc import Sequence


def newly_asked(tiers: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return those models of each tier that no tier before it names, in the tier's order."""
    asked_models: set[str] = set()
    new: list[tuple[str, ...]] = []
    for models in tiers:
        new.append(tuple(model for model in models if model not in asked_models))
        asked_models.update(models)
    return new
