"""The header of a records file: which models were asked what, through what, and how."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from pydantic import ValidationError

from serve_app.config import AppConfig
from serve_app.config.explain import explain
from serve_app.core.cost import ModelCost
from serve_app.core.sampling import Sample, parsed_name
from serve_app.errors import DataError, choices
from serve_app.evaluation.records.fields import field

FORMAT = 1
Object = Mapping[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """The serving config: `args` as a user wrote them, and their SHA-256."""

    digest: str
    args: Object

    @property
    def models(self) -> Mapping[str, Object]:
        """Return each model's options as a user wrote them."""
        return cast("Mapping[str, Object]", self.args["models"])

    def parsed(self) -> AppConfig:
        """Return the config. Raises DataError, with a sentence for each thing, if this version cannot read it."""
        try:
            return AppConfig.model_validate(self.args)
        except ValidationError as error:
            sentences = " ".join(explain(error, AppConfig, "config.args."))
            raise DataError(f"The config in the records is not one that this version reads: {sentences}") from None


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The examples: their digest (see `example.digest`), how many they are, and the files or sets they came from."""

    digest: str
    examples: int | None
    files: list[str]


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """The prompt templates by task, and their SHA-256."""

    digest: str
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SamplingFacts:
    """How answers were sampled; `max_tokens` by task."""

    temperature: float | None
    logprobs: bool | None
    max_tokens: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the models were asked through, `engines` or `server`, and how many requests at once."""

    through: str
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model: `weights` are their source or sources, `weights_sha256` their digest; None if it has none."""

    engine: str | None
    parameters: float | None
    active_parameters: float | None
    cost: ModelCost
    weights: str | list[str] | None
    weights_sha256: str | None


@dataclass(frozen=True, slots=True)
class Header:
    """What was asked, of which models and how. `created` is an ISO 8601 time, `versions` are those of packages."""

    created: str
    config: ConfigFacts
    data: DataFacts
    prompts: PromptFacts
    sampling: SamplingFacts
    asked: SourceFacts
    models: Mapping[str, ModelFacts]
    versions: Mapping[str, str]

    def samples(self) -> dict[str, Sample]:
        """Return how the samples of models were drawn, by their names: only of those that a tier of the config has."""
        if not any(map(parsed_name, self.models)):
            return {}
        return self.config.parsed().samples()

    def body(self) -> dict[str, Any]:
        """Return the header's line as a JSON object."""
        return {"kind": "header", "format": FORMAT, **asdict(self)}

    @classmethod
    def read(cls, body: Object) -> "Header":
        """Return the header that a line holds. Raises ValueError, which names the field, if it is invalid."""
        if body.get("format") != FORMAT:
            raise ValueError(f"the format is {body.get('format')!r}, and this version reads {FORMAT}")
        created = field(body, "created", str)
        parts = {item.name: field(body, item.name, dict) for item in fields(cls) if item.name != "created"}
        return cls(
            created,
            _config(parts["config"]),
            _data(parts["data"]),
            PromptFacts(
                field(parts["prompts"], "digest", str, "prompts."), field(parts["prompts"], "texts", dict, "prompts.")
            ),
            _sampling(parts["sampling"]),
            SourceFacts(field(parts["asked"], "through", str, "asked."), parts["asked"].get("concurrency")),
            {name: _model(name, field(parts["models"], name, dict, "models.")) for name in parts["models"]},
            parts["versions"],
        )


def _config(body: Object) -> ConfigFacts:
    return ConfigFacts(field(body, "digest", str, "config."), field(body, "args", dict, "config."))


def _data(body: Object) -> DataFacts:
    return DataFacts(field(body, "digest", str, "data."), body.get("examples"), field(body, "files", list, "data."))


def _sampling(body: Object) -> SamplingFacts:
    max_tokens = field(body, "max_tokens", dict, "sampling.") if "max_tokens" in body else {}
    return SamplingFacts(body.get("temperature"), body.get("logprobs"), max_tokens)


def _model(name: str, body: Object) -> ModelFacts:
    return ModelFacts(
        body.get("engine"),
        body.get("parameters"),
        body.get("active_parameters"),
        _cost(f"models.{name}.cost.", field(body, "cost", dict, f"models.{name}.")),
        body.get("weights"),
        body.get("weights_sha256"),
    )


def _cost(prefix: str, body: Object) -> ModelCost:
    defaults = {item.name: item.default for item in fields(ModelCost)}
    for name, value in body.items():
        if name not in defaults:
            raise ValueError(f"{prefix}{name}: no such field. {choices(name, defaults)}".rstrip("."))
        if value is not None or defaults[name] is not None:
            field(body, name, float, prefix)
    if "usd_per_device_hour" not in body and not (body.get("input_usd") or body.get("output_usd")):
        body = {**body, "input_usd": None, "output_usd": None}  # earlier versions wrote 0 for a model without a price
    return ModelCost(**body)
