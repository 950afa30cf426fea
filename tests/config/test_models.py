"""Which options of a model or a signal can change no answer or score."""

import pytest
from pydantic import BaseModel

from serve_app.config import (
    DeployedFacts,
    LlamaCppModel,
    OpenAiApiModel,
    ReplayModel,
    Seq2SeqModel,
    VllmLoraModel,
    VllmModel,
    operational_options,
)
from serve_app.config.services import BleurtSettings
from serve_app.signals import BleuConfig, ChowConfig, MixConfig, SbertConfig

OPTIONS: list[tuple[type[BaseModel], str]] = [
    (LlamaCppModel, "slots threads batch_tokens gpu_layers"),
    (
        OpenAiApiModel,
        "api_key_env api_key_file keyless timeout_s connect_timeout_s max_retries max_concurrency vision image_urls",
    ),
    (ReplayModel, "first_token_s token_s batching slots"),
    (Seq2SeqModel, "encoder_parameters device threads slots batch_tokens"),
    (
        VllmModel,
        "device tensor_parallel_size pipeline_parallel_size worker_strategy gpu_memory_utilization max_num_seqs "
        "enforce_eager routing vision image_urls",
    ),
]


@pytest.mark.parametrize(("config", "options"), OPTIONS)
def test_how_a_model_is_run_and_what_it_costs_can_change_no_answer(config: type[BaseModel], options: str) -> None:
    assert operational_options(config) == DeployedFacts.model_fields.keys() | set(options.split())


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (
            VllmLoraModel,
            "parameters active_parameters input_usd output_usd usd_per_device_hour devices cancelled_billed",
        ),
        (SbertConfig, "device batch_size threads"),
        (BleurtSettings, "environment device batch_tokens threads deployment"),
        (BleuConfig, ""),
        (ChowConfig, ""),
        (MixConfig, ""),
    ],
)
def test_how_a_signal_or_an_adapter_is_run_can_change_no_score(config: type[BaseModel], options: str) -> None:
    assert operational_options(config) == set(options.split())
