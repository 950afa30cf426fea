"""Rules that hold for the whole configuration."""

import math
from typing import Any

import pytest

from serve_app.config import (
    AppConfig,
    ModelFacts,
    RouterSettings,
)
from tests.config.values import MEMBERS, REPLAY, TARGET, cascade, config, problems


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        (config(models={}), ["models: needs at least 1 entry, got 0."]),
        (config(cascades={}), ["cascades: needs at least 1 entry, got 0."]),
        (
            config(models=config()["models"] | {"Scorer": REPLAY}),
            ["models.Scorer: this name is taken by a deployment of the server itself."],
        ),
        (
            config(models=config()["models"] | {"StateStore": REPLAY}),
            ["models.StateStore: this name is taken by a deployment of the server itself."],
        ),
        *(
            (
                config(state_store={"deployment": several}),
                [
                    "state_store.deployment: must have one replica, which all routers share; leave out "
                    "num_replicas and autoscaling_config."
                ],
            )
            for several in ({"num_replicas": 2}, {"autoscaling_config": {}})
        ),
        (
            config(models=config()["models"] | {"default": REPLAY}),
            ["cascades.default: a model has this name too; an id must mean one thing."],
        ),
        (
            config(models=config()["models"] | {"a b": REPLAY}),
            [
                "models.a b: a name has up to 100 letters, digits, '.', '_' and '-', "
                "and begins with a letter or a digit, got 'a b'."
            ],
        ),
        (
            cascade(MEMBERS | {"models": ["a", "d"], "signal": "rouge"}, {"models": ["target"]}),
            [
                "cascades.default.tiers[0].models[1]: no model 'd'. Available: a, b, c, t.",
                "cascades.default.tiers[0].signal: no signal 'rouge'. Did you mean 'rougeL'? Available: bleu, "
                "bleurt, chow_avg, chow_quantile, chow_sum, chrf, exact, json, rouge1, rouge2, rougeL, sbert, "
                "sbert_mbert.",
                "cascades.default.tiers[1].models[0]: no model 'target'. Available: a, b, c, t.",
            ],
        ),
        (
            cascade(MEMBERS | {"signal": "chow_avg"}, TARGET),
            [
                f"cascades.default.tiers[0].signal: 'chow_avg' has no zscores for {name!r}, "
                "so models cannot be compared."
                for name in MEMBERS["models"]
            ],
        ),
        # An engine's own options, what they nest, and a signal's are looked at, too.
        *(
            (
                config(models=config()["models"] | {"a": REPLAY | options}),
                [f"models.a.{name}: must be a number, got true."],
            )
            for name, options in {
                "slots": {"slots": True},
                "input_usd": {"input_usd": True},
                "batching.step_s": {"batching": {"step_s": True}},
            }.items()
        ),
        (
            config(signals={"near": {"kind": "sbert", "batch_size": True}}),
            ["signals.near.batch_size: must be a number, got true."],
        ),
        (
            cascade(MEMBERS, TARGET, on_target_failure="best"),
            ["cascades.default.on_target_failure: must be 'error' or 'best_member', got 'best'."],
        ),
    ],
)
def test_rules_of_the_whole(values: dict[str, Any], sentences: list[str]):
    got = problems(AppConfig, values)
    assert len(got) == len(sentences)
    for sentence, expected in zip(got, sentences, strict=True):
        assert sentence == expected


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_are_finite_everywhere(number: float):
    # An infinite cost could not be written as JSON.
    assert problems(ModelFacts, {"parameters": number}) == [f"parameters: must be a finite number, got {number}."]
    [sentence] = problems(AppConfig, config(models=config()["models"] | {"a": REPLAY | {"parameters": number}}))
    assert sentence == f"models.a.parameters: must be a finite number, got {number}."
    assert problems(RouterSettings, {"thresholds": {"default": [0.5, number]}}) == [
        f"thresholds.default[1]: must be a finite number, got {number}."
    ]
