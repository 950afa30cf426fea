"""What a user writes about a model: its engine's options, its size and prices, and how it is deployed."""

from dataclasses import replace
from typing import Annotated, Any, Self, TypeAlias

from pydantic import BaseModel, Field, model_validator

from serve_app.common.options import OPERATIONAL
from serve_app.config.deployment import DeploymentOptions
from serve_app.config.strict import Strict
from serve_app.config.workers import check_workers, placed
from serve_app.core.cost import ModelCost
from serve_app.engines import LlamaCppConfig, OpenAiApiConfig, ReplayConfig, Seq2SeqConfig, VllmConfig, VllmLoraConfig


class ModelFacts(Strict):
    """What is written about every model, whatever its engine."""

    parameters: float | None = Field(None, gt=0, description="Number of parameters, for the cost in FLOPs.")
    active_parameters: float | None = Field(None, gt=0, description="Active for one token, in a mixture of experts.")
    input_usd: float | None = Field(None, ge=0, description="US dollars for a million prompt tokens.")
    output_usd: float | None = Field(None, ge=0, description="US dollars for a million generated tokens.")
    usd_per_device_hour: float | None = Field(
        None,
        ge=0,
        description="US dollars for an hour of one device. Without any price the cost in dollars is unknown.",
    )
    devices: float = Field(1, gt=0, description="Devices (GPUs, or CPUs) that one replica holds, for device-seconds.")
    cancelled_billed: bool | None = Field(
        None,
        description="Whether a call that is cancelled is billed as if it had ended: such a model is not asked ahead of "
        "its tier. Default: true for `openai_api` models with prices, else false.",
    )

    @property
    def bills_cancelled(self) -> bool:
        """Return whether a call that is cancelled is billed as if it had ended."""
        return bool(self.cancelled_billed)

    def cost(self) -> ModelCost:
        """Return the figures that `core.cost` needs."""
        parameters = self.active_parameters or self.parameters
        return ModelCost(
            parameters,
            self.input_usd,
            self.output_usd,
            self.devices,
            usd_per_device_hour=self.usd_per_device_hour,
        )


class DeployedFacts(ModelFacts):
    """What is written about every model that has a deployment, and so replicas, of its own."""

    deployment: DeploymentOptions = Field(DeploymentOptions(), description="Replicas, resources and scaling.")

    def placed(self) -> DeploymentOptions:
        """Return the deployment's options, with the bundles that the engine's workers need."""
        return self.deployment


class LlamaCppModel(DeployedFacts, LlamaCppConfig):
    """A GGUF model, run by llama.cpp inside the replica."""


class OpenAiApiModel(DeployedFacts, OpenAiApiConfig):
    """A model behind an OpenAI-compatible endpoint."""

    @property
    def bills_cancelled(self) -> bool:
        has_price = self.input_usd is not None or self.output_usd is not None
        return has_price if self.cancelled_billed is None else self.cancelled_billed


class ReplayModel(DeployedFacts, ReplayConfig):
    """Recorded or scripted answers."""


class Seq2SeqModel(DeployedFacts, Seq2SeqConfig):
    """An encoder-decoder model, run by transformers inside the replica."""

    encoder_parameters: Annotated[float | None, OPERATIONAL] = Field(
        None, gt=0, description="Of `parameters`: the encoder's, which read the prompt; the rest write the answer."
    )

    @model_validator(mode="after")
    def _encoder_is_a_part(self) -> Self:
        if self.encoder_parameters is not None and self.encoder_parameters >= (self.parameters or 0):
            raise ValueError("encoder_parameters: must be less than parameters, of which they are a part")
        return self

    def cost(self) -> ModelCost:
        whole = super().cost()
        if self.encoder_parameters is None or whole.parameters is None:
            return whole
        decoder = whole.parameters - self.encoder_parameters
        return replace(whole, parameters=decoder, prompt_parameters=self.encoder_parameters)


class VllmModel(DeployedFacts, VllmConfig):
    """A model that vLLM runs, on as many GPUs as it has workers."""

    @model_validator(mode="after")
    def _room_for_workers(self) -> Self:
        check_workers(self.deployment, self.workers, gpu=self.device == "gpu")
        return self

    def placed(self) -> DeploymentOptions:
        return placed(self.deployment, self.worker_bundles(), self.worker_strategy)


class VllmLoraModel(ModelFacts, VllmLoraConfig):
    """A LoRA adapter of a model that vLLM runs, in that one's replicas. Facts that are not set are its base's."""

    @model_validator(mode="before")
    @classmethod
    def _no_deployment(cls, values: Any) -> Any:
        if isinstance(values, dict) and "deployment" in values:
            raise ValueError(
                "deployment: an adapter has none of its own; set it at its base, whose replicas answer for it"
            )
        return values

    def over(self, base: VllmModel) -> Self:
        """Return the adapter with its base's size, prices and devices for those it does not set."""
        unsaid = ModelFacts.model_fields.keys() - self.model_fields_set
        return self.model_copy(update={fact: getattr(base, fact) for fact in unsaid})


def operational_options(config: type[BaseModel]) -> set[str]:
    """Return the names of the options of a model's or signal's config that can change no answer or score.

    These are the facts that every deployed model has, and the fields marked `OPERATIONAL`.
    """
    marked = {name for name, field in config.model_fields.items() if OPERATIONAL in field.metadata}
    return marked | (DeployedFacts.model_fields.keys() & config.model_fields.keys())


DeployedModel: TypeAlias = LlamaCppModel | OpenAiApiModel | ReplayModel | Seq2SeqModel | VllmModel
ModelConfig: TypeAlias = Annotated[DeployedModel | VllmLoraModel, Field(discriminator="engine")]
