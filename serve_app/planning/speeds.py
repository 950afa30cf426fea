"""How fast models are, as a user writes it on the command line."""

from collections.abc import Sequence

from pydantic import PositiveInt, ValidationError

from serve_app.config import AppConfig
from serve_app.config.explain import explain
from serve_app.config.strict import Strict
from serve_app.engines.replay.gpu_model import BatchSpeed
from serve_app.errors import ConfigError, choices
from serve_app.planning.simulation import ModelFleet


class WrittenSpeed(Strict, BatchSpeed):
    """A model's speed as on the command line."""

    slots: PositiveInt = 64

    def fleet(self) -> ModelFleet:
        """Return the speed as the plan takes it."""
        return ModelFleet(BatchSpeed.model_validate(self.model_dump(exclude={"slots"})), self.slots)


def speeds_of(args: AppConfig, arguments: Sequence[str]) -> dict[str, ModelFleet]:
    """Parse `NAME={step_s: ..., sequence_s: ..., prompt_token_s: ..., slots: ...}` of the command line.

    Names are of models with a deployment: an adapter is as fast as its base. Raises ConfigError for anything else.
    """
    import yaml

    speeds = {}
    for text in arguments:
        name, _, values = text.partition("=")
        name, problem = name.strip(), f"--speed {text!r}: needs NAME={{step_s: seconds, ...}}"
        try:
            fields = yaml.safe_load(values)
        except yaml.YAMLError:
            fields = None
        if not isinstance(fields, dict):
            raise ConfigError(f"{problem}.")
        if name not in args.deployed():
            raise ConfigError(f"--speed: there is no deployed model {name!r}. {choices(name, args.deployed())}")
        try:
            speeds[name] = WrittenSpeed.model_validate(fields).fleet()
        except ValidationError as error:
            raise ConfigError(f"{problem}: {' '.join(explain(error, WrittenSpeed))}") from None
    return speeds
