"""The samples that all cascades of a config name: which they are, whether they are drawn alike, and as written."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from serve_app.config.cascades.cascade import CascadeConfig
from serve_app.config.cascades.members import SamplesConfig
from serve_app.config.explain import dotted
from serve_app.core.sampling import Sample, parsed_name

DRAWN_BY = ("temperature", "top_p", "seed")
"""Options of samples by which they are drawn."""


def members_as_written(names: Iterable[str], samples: Mapping[str, Sample]) -> list[str | dict[str, Any]]:
    """Return a tier's members as a config has them, all samples of a model in one entry at the first one's position.

    Which samples they were does not matter: all are drawn alike, in the way of those in `samples`, by their names.
    """
    entries: dict[str, str | dict[str, Any]] = {}
    for name in names:
        if (name_parts := parsed_name(name)) is None:
            entries[name] = name
            continue
        key = f"{name_parts[0]}#"
        entry = entries.setdefault(key, {"model": name_parts[0], "samples": 0})
        assert isinstance(entry, dict)
        entry["samples"] += 1
        options = {option: getattr(samples.get(name), option, None) for option in DRAWN_BY}
        entry.update({option: value for option, value in options.items() if value is not None})
    return list(entries.values())


def all_samples(cascades: Mapping[str, CascadeConfig]) -> Iterator[Sample]:
    """Yield the samples that all tiers name, also those that several of them name."""
    for member, _ in _sampled(cascades):
        yield from member.expanded()


def sample_faults(
    cascades: Mapping[str, CascadeConfig], greedy: Callable[[str], bool]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield what is wrong with samples, and where: samples that are alike, or drawn differently under one name.

    `greedy` says whether a model's own temperature is 0.
    """
    first: dict[str, tuple[SamplesConfig, str]] = {}
    for member, where in _sampled(cascades):
        first_member, first_path = first.setdefault(member.model, (member, dotted(where)))
        for option in DRAWN_BY:
            value, first_value = getattr(member, option), getattr(first_member, option)
            if value != first_value:
                difference = f"is {_shown(value)} here and {_shown(first_value)} in {first_path}"
                yield f"{difference}, but '{member.model}#1' is one member", (*where, option)
        if member.samples > 1 and member.temperature is None and greedy(member.model):
            greedy_model = f"since {member.model!r} is greedy and all samples would be the same answer"
            yield f"must be set, {greedy_model}", (*where, "temperature")


def _sampled(cascades: Mapping[str, CascadeConfig]) -> Iterator[tuple[SamplesConfig, tuple[str | int, ...]]]:
    """Yield every member that is asked several times, and its path in the config."""
    for id_, cascade in cascades.items():
        for number, tier in enumerate(cascade.tiers):
            for index, member in enumerate(tier.members):
                if isinstance(member, SamplesConfig):
                    yield member, ("cascades", id_, "tiers", number, "models", index)


def _shown(value: float | None) -> str:
    return "not set" if value is None else str(value)
