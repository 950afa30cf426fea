import math
import pickle
from typing import Any, ClassVar

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from serve_app.config import (
    AppConfig,
    CascadeConfig,
    ModelFacts,
    RouterSettings,
    Seq2SeqModel,
    TierConfig,
)
from serve_app.config.deployment import Autoscaling, DeploymentOptions, options_of
from serve_app.config.explain import explain
from serve_app.core.cost import ModelCost
from serve_app.core.speculation import SpeculationPolicy
from serve_app.core.types.answer import Generation, TokenLogprob
from serve_app.core.types.policy import Blend, Tier

REPLAY = {"engine": "replay", "default": "Paris"}
MEMBERS = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}
ALONE = {"models": ["a"], "signal": "chow_avg", "threshold": -0.5}
TARGET = {"models": ["t"]}


def config(**parts: Any) -> dict[str, Any]:
    """A valid configuration with some parts replaced."""
    models = dict.fromkeys(("a", "b", "c", "t"), REPLAY)
    return {"models": models, "cascades": {"default": {"tiers": [MEMBERS, TARGET]}}} | parts


def cascade(*tiers: dict[str, Any], **options: Any) -> dict[str, Any]:
    return config(cascades={"default": {"tiers": list(tiers)} | options})


def said(model: type[BaseModel], values: Any) -> list[str]:
    """The sentences about values that are refused."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return explain(caught.value, model)


def test_a_quorum_asks_for_more_than_is_there() -> None:
    tiers = [MEMBERS, {"models": ["a", "b", "c"], "signal": "exact", "threshold": 0.5, "quorum": 2}, TARGET]
    [fault] = said(CascadeConfig, {"tiers": tiers})
    assert "tiers[1].quorum: must be more than 2, the answers that earlier tiers have" in fault


def test_an_unquoted_off_is_one() -> None:
    assert CascadeConfig.model_validate({"tiers": [MEMBERS, TARGET], "cache": False}).cache is None
    assert TierConfig.model_validate(yaml.safe_load("{models: [a, b], early: off}")).early == "off"


RULES = "needs exactly one of when, after_s and percentile"


@pytest.mark.parametrize(
    ("speculate", "policy"),
    [
        (False, None),  # an unquoted `off`
        ("off", None),
        (None, None),
        ("always", SpeculationPolicy("always")),
        ({"after_s": 0}, SpeculationPolicy(after_s=0.0)),
        ({"percentile": 90}, SpeculationPolicy(percentile=90.0)),
        ({"when": "adaptive", "second_usd": 0.01}, SpeculationPolicy("adaptive", second_usd=0.01)),
    ],
)
def test_a_speculation_has_short_forms(speculate: Any, policy: SpeculationPolicy | None) -> None:
    config = CascadeConfig.model_validate({"tiers": [MEMBERS, TARGET], "speculate": speculate})
    assert (config.speculate and config.speculate.policy()) == policy


@pytest.mark.parametrize(
    ("speculate", "sentence"),
    [
        ({}, f"speculate: {RULES}, got none."),
        ({"when": "always", "after_s": 1}, f"speculate: {RULES}, got when and after_s."),
        ("adaptive", "speculate.second_usd: adaptive needs it, and nothing else has a use for it."),
        ({"when": "always", "second_usd": 1}, "speculate.second_usd: adaptive needs it, and nothing else"),
        ("sometimes", "speculate: 'sometimes' is none of off, always, adaptive; or write a mapping"),
        (0, "speculate: 0 is none of off, always, adaptive; or write a mapping, such as {after_s: 0.3}"),
        ({"percentile": 100}, "speculate.percentile: must be less than 100"),
    ],
)
def test_a_speculation_that_says_nothing_useful(speculate: Any, sentence: str) -> None:
    [fault] = said(CascadeConfig, {"tiers": [MEMBERS, TARGET], "speculate": speculate})
    assert fault.startswith(sentence)


API = {"engine": "openai_api", "keyless": True, "base_url": "http://x/v1", "model": "m", "input_usd": 1}


@pytest.mark.parametrize(
    ("model", "speculate", "sentence"),
    [
        (API, "always", "asks 't' ahead of its tier, which bills cancelled calls; say billed: true to do it, or"),
        (API | {"cancelled_billed": False}, "always", None),
        (API, {"when": "always", "billed": True}, None),
        (API | {"input_usd": None}, "always", None),
        (None, {"when": "adaptive", "second_usd": 1}, "adaptive weighs costs, and 't' has no price."),
    ],
)
def test_what_may_not_be_asked_ahead(model: dict[str, Any] | None, speculate: Any, sentence: str | None) -> None:
    body = cascade(MEMBERS, TARGET)
    body["cascades"]["default"]["speculate"] = speculate
    if model is not None:
        body["models"]["t"] = model
    if sentence is None:
        AppConfig.model_validate(body)
    else:
        [fault] = said(AppConfig, body)
        assert fault.startswith(f"cascades.default.speculate: {sentence}")


TIER_RULES: list[tuple[dict[str, Any], str]] = [
    ({"models": []}, "models: needs at least 1 entry, got 0."),
    ({"models": ["a", "a"]}, "models: the same model is listed twice."),
    ({"models": ["a", "b"], "select": "c"}, "select: 'c' is not one of this tier's models (a, b)."),
    (
        {"models": ["a", "b"], "min_answers": 3},
        "min_answers: must be at most 2, as many as the tier has models, got 3.",
    ),
    (
        {"models": ["a", "b"], "quorum": 3},
        "quorum: must be from 2 (min_answers) to 2 (models), got 3.",
    ),
    (
        {"models": ["a", "b"], "quorum": 1},
        "quorum: must be from 2 (min_answers) to 2 (models), got 1.",
    ),
    ({"models": ["a"], "min_answers": 0}, "min_answers: must be greater than 0, got 0."),
    ({"models": ["a"], "threshold": math.nan}, "threshold: must be a finite number, got nan."),
    ({"models": ["a"], "threshold": math.inf}, "threshold: must be a finite number, got inf."),
    ({"models": ["a"], "threshold": "high"}, "threshold: must be a valid number, got 'high'."),
    ({"models": ["a"], "threshold": True}, "threshold: must be a number, got true."),
    ({"models": ["a"], "agreement": "median"}, "agreement: must be 'max' or 'mean', got 'median'."),
    ({"models": ["a"], "early": "yes"}, "early: must be 'off', 'decision' or 'selection', got 'yes'."),
    ({"models": ["a"], "timeout_s": 0}, "timeout_s: must be greater than 0, got 0."),
    ({"models": "a"}, "models: must be a list, got 'a'."),
    ({}, "models: required, but missing."),
]


@pytest.mark.parametrize(("values", "sentence"), TIER_RULES)
def test_tier_rules(values: dict[str, Any], sentence: str):
    assert said(TierConfig, values) == [sentence]


LAST = "tiers[1]: the target is one model, perhaps a timeout_s, and nothing else."


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ([], "tiers: needs at least 1 entry, got 0."),
        (
            [{"models": ["a", "b"]}, TARGET],
            "tiers[0]: needs a signal and a threshold; only the last tier always answers.",
        ),
        (
            [MEMBERS, {"models": ["c"], "signal": "exact"}, TARGET],
            "tiers[1]: needs a signal and a threshold; only the last tier always answers.",
        ),
        ([MEMBERS, {"models": ["t", "c"]}], LAST),
        (
            [MEMBERS, TARGET | {"threshold": 0.5, "signal": "exact"}],
            f"{LAST} It has signal, threshold, which have no effect there.",
        ),
        (
            [MEMBERS, MEMBERS | {"models": ["b", "a"], "timeout_s": 5}, TARGET],
            "tiers[1]: has no effect: tiers[0] compares the same answers in the same way, with a threshold that is no "
            "higher.",
        ),
        (
            [MEMBERS, MEMBERS | {"models": ["a", "b", "c"]}, MEMBERS | {"threshold": 0.75}, TARGET],
            "tiers[2]: has no effect: tiers[0] compares the same answers in the same way, with a threshold that is no "
            "higher.",
        ),
        (
            [MEMBERS | {"models": ["t"], "signal": "chow_avg"}, TARGET],
            "tiers[0]: has no effect: it returns the target's answer, as the last tier does.",
        ),
        (
            [MEMBERS, MEMBERS | {"models": ["a", "t"], "select": "t"}, TARGET],
            "tiers[1]: has no effect: it returns the target's answer, as the last tier does.",
        ),
    ],
)
def test_cascade_rules(tiers: list[Any], sentence: str):
    assert said(CascadeConfig, {"tiers": tiers}) == [sentence]


@pytest.mark.parametrize(
    ("tiers", "new"),
    [
        ([ALONE, MEMBERS, MEMBERS | {"models": ["a", "b", "c"]}], [("a",), ("b",), ("c",), ("t",)]),
        ([MEMBERS, MEMBERS | {"signal": "rougeL"}], [("a", "b"), (), ("t",)]),
        ([MEMBERS, MEMBERS | {"threshold": 0.25}], [("a", "b"), (), ("t",)]),
        ([MEMBERS | {"tier_timeout_s": 1}] * 2, [("a", "b"), (), ("t",)]),
        ([MEMBERS, MEMBERS | {"models": ["b", "t", "a"]}], [("a", "b"), ("t",), ()]),
        ([ALONE | {"models": ["t"]}, MEMBERS], [("t",), ("a", "b"), ()]),
    ],
)
def test_a_model_of_several_tiers_is_asked_by_the_first(tiers: list[Any], new: list[tuple[str, ...]]):
    assert CascadeConfig.model_validate({"tiers": [*tiers, TARGET]}).newly_asked() == new


def test_a_model_whose_answer_is_carried_over_is_not_deferred_to():
    config = AppConfig.model_validate(cascade(ALONE, MEMBERS, TARGET))
    assert config.later_models() == {"b", "t"}


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
    got = said(AppConfig, values)
    assert len(got) == len(sentences)
    for sentence, expected in zip(got, sentences, strict=True):
        assert sentence == expected


def test_deployment_rules():
    assert said(DeploymentOptions, {"num_replicas": 2, "autoscaling_config": {}}) == [
        "num_replicas: leave it out, since autoscaling_config says how many there are."
    ]
    assert said(Autoscaling, {"min_replicas": 3, "max_replicas": 2}) == [
        "min_replicas: must be at most max_replicas (2), got 3."
    ]
    assert said(Autoscaling, {"max_replicas": 4, "initial_replicas": 5}) == [
        "initial_replicas: must be from 1 (min_replicas) to 4 (max_replicas), got 5."
    ]
    assert said(Autoscaling, {"downscale_to_zero_delay_s": 5}) == [
        "downscale_to_zero_delay_s: means nothing where min_replicas is not 0."
    ]
    assert said(Autoscaling, {"look_back_period_s": 10}) == [
        "look_back_period_s: must be more than metrics_interval_s (10), got 10."
    ]


class TestTheRouterReports:
    """Serve asks for figures only where it scales, so the router scales from n to n where they are of use."""

    def router(self, target: dict[str, Any], **router: Any) -> DeploymentOptions:
        models = config()["models"] | {"t": REPLAY | {"deployment": target}}
        values = config(models=models) | {"router": {"deployment": router}}
        return AppConfig.model_validate(values).deployments()["Router"]

    def test_not_where_nothing_scales_by_deferral(self):
        assert self.router({}, num_replicas=3) == DeploymentOptions(num_replicas=3)
        member = REPLAY | {"deployment": {"autoscaling_config": {"max_replicas": 3}}}
        args = AppConfig.model_validate(config(models=config()["models"] | {"a": member}))
        assert args.later_models() == {"t"}
        assert args.deployments()["Router"] == args.router.deployment

    def test_as_often_as_the_target_needs_it(self):
        scaling = {"max_replicas": 4, "metrics_interval_s": 2, "look_back_period_s": 6}
        got = self.router({"autoscaling_config": scaling}, num_replicas=3, max_ongoing_requests=7)
        assert (got.num_replicas, got.max_ongoing_requests) == (None, 7)
        assert got.autoscaling_config == Autoscaling(
            min_replicas=3, max_replicas=3, metrics_interval_s=2, look_back_period_s=6
        )

    def test_a_router_that_scales_already_is_left_alone(self):
        own = {"min_replicas": 1, "max_replicas": 5}
        got = self.router({"autoscaling_config": {"max_replicas": 4}}, autoscaling_config=own)
        assert got.autoscaling_config == Autoscaling(**own)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_are_finite_everywhere(number: float):
    # An infinite cost could not be written as JSON.
    assert said(ModelFacts, {"parameters": number}) == [f"parameters: must be a finite number, got {number}."]
    [sentence] = said(AppConfig, config(models=config()["models"] | {"a": REPLAY | {"parameters": number}}))
    assert sentence == f"models.a.parameters: must be a finite number, got {number}."
    assert said(RouterSettings, {"thresholds": {"default": [0.5, number]}}) == [
        f"thresholds.default[1]: must be a finite number, got {number}."
    ]


def test_costs():
    assert ModelFacts(parameters=8e9, input_usd=1, output_usd=2, devices=3).cost() == ModelCost(8e9, 1, 2, 3)
    assert ModelFacts(parameters=8e9, active_parameters=1e9).cost() == ModelCost(1e9)
    assert ModelFacts().cost() == ModelCost(None)
    assert ModelFacts(usd_per_device_hour=2).cost() == ModelCost(None, usd_per_device_hour=2)


def test_an_encoder_reads_and_a_decoder_writes():
    values = {"engine": "seq2seq", "weights": "hf://google/flan-t5-large", "encoder_parameters": 3e8}
    assert Seq2SeqModel.model_validate(values | {"parameters": 8e8}).cost() == ModelCost(5e8, prompt_parameters=3e8)
    with pytest.raises(ValidationError, match="encoder_parameters: must be less than parameters"):
        Seq2SeqModel.model_validate(values | {"parameters": 3e8})


class TestAdapters:
    BASE: ClassVar = {"engine": "vllm", "weights": "hf://org/base", "parameters": 7e9, "input_usd": 3, "devices": 2}
    ADAPTER: ClassVar = {"engine": "vllm_lora", "base": "t", "weights": "hf://org/adapter"}

    def app(self, **models: Any) -> AppConfig:
        """The target is an adapter of a member."""
        models = config()["models"] | {"a": self.BASE, "t": self.ADAPTER | {"base": "a"}} | models
        return AppConfig.model_validate(config(models=models))

    def test_size_and_prices_are_the_bases_unless_said(self):
        assert self.app().models["t"].cost() == ModelCost(7e9, 3, None, 2)
        said = self.app(t=self.ADAPTER | {"base": "a", "parameters": 7.1e9, "output_usd": 1})
        assert said.models["t"].cost() == ModelCost(7.1e9, 3, 1, 2)

    def test_the_bases_deployment_serves_it(self):
        args = self.app()
        assert (args.served_by("t"), args.served_by("a")) == ("a", "a")
        assert args.deployed().keys() == {"a", "b", "c"}
        assert args.deployments().keys() == {"a", "b", "c", "Scorer", "Router"}
        assert args.adapters("a") == {"t": args.models["t"]}
        assert args.adapters("b") == {}

    def test_its_weights_are_fetched(self):
        assert self.app().weights() == [("a", "hf://org/base", None), ("t", "hf://org/adapter", None)]

    def test_weights_may_be_a_list_of_sources(self):
        app = self.app(t=self.ADAPTER | {"base": "a", "weights": ["hf://org/adapter", "/models/adapter"]})
        assert app.weights()[1] == ("t", ("hf://org/adapter", "/models/adapter"), None)

    def test_what_is_deferred_to_it_scales_its_base(self):
        scaling = {"autoscaling_config": {"max_replicas": 3}}
        args = self.app(a=self.BASE | {"deployment": scaling})
        assert args.later_models() == {"a"}
        router = args.deployments()["Router"].autoscaling_config
        assert router is not None
        assert (router.min_replicas, router.max_replicas) == (1, 1)

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"base": "z"}, "base: no model 'z'; an adapter's base has engine: vllm. Available: b."),
            ({"base": "c"}, "base: 'c' has engine: replay; an adapter's base has engine: vllm. Available: b."),
            ({"base": "a"}, "base: 'a' has engine: vllm_lora; an adapter's base has engine: vllm. Available: b."),
            (
                {"base": "b", "deployment": {"num_replicas": 2}},
                "deployment: an adapter has none of its own; set it at its base, whose replicas answer for it.",
            ),
            ({"base": "b", "max_tokens": 5}, "max_tokens: unknown key. Available: "),
        ],
    )
    def test_what_is_refused(self, values: dict[str, Any], sentence: str):
        models = config()["models"] | {"b": self.BASE, "a": self.ADAPTER | {"base": "b"}, "t": self.ADAPTER | values}
        [got] = said(AppConfig, config(models=models))
        assert got.startswith(f"models.t.{sentence}")


class TestTiers:
    def test_every_option_reaches_the_core(self):
        options = {
            "agreement": "mean",
            "direction": "reference",
            "select": "b",
            "min_answers": 2,
            "truncated": "discard",
            "timeout_s": 3,
        }
        app = AppConfig.model_validate(cascade(MEMBERS | options, TARGET | {"timeout_s": 9}))
        assert app.tiers("default", [0.7]) == (
            Tier(("a", "b"), "exact", 0.7, "mean", "reference", "b", 2, "discard", 3.0),
            Tier(("t",), timeout_s=9.0),
        )

    def test_defaults(self):
        app = AppConfig.model_validate(config())
        assert app.tiers("default", [0.5]) == (
            Tier(("a", "b"), "exact", 0.5, min_answers=2, timeout_s=120.0),
            Tier(("t",), timeout_s=600.0),
        )

    def test_a_target_alone(self):
        app = AppConfig.model_validate(cascade(TARGET))
        assert app.tiers("default", []) == (Tier(("t",), timeout_s=600.0),)
        assert app.thresholds() == {"default": []}

    def test_token_level(self):
        values = cascade({"models": ["a"], "signal": "worst", "threshold": -1}, TARGET)
        app = AppConfig.model_validate(values | {"signals": {"worst": {"kind": "chow_quantile", "q": 0}}})
        tier, _ = app.tiers("default", [-1.5])
        assert (tier.models, tier.signal, tier.threshold, tier.min_answers) == (("a",), "worst", -1.5, 1)
        assert tier.confidence is not None
        sure = Generation("x", "stop", 1, 2, logprobs=(TokenLogprob("x", -0.5), TokenLogprob("y", -2.0)))
        assert tier.confidence("a", sure) == -2.0
        assert pickle.loads(pickle.dumps(tier)).confidence("a", sure) == -2.0
        assert "worst" not in app.similarities()

    def test_token_level_ensembles_need_zscores_and_average_by_default(self):
        zscores = {name: {"mean": -1.0, "std": 0.5} for name in MEMBERS["models"]}
        signals = {"sure": {"kind": "chow_avg", "zscores": zscores}}
        app = AppConfig.model_validate(cascade(MEMBERS | {"signal": "sure"}, TARGET) | {"signals": signals})
        tier, _ = app.tiers("default", [0.0])
        assert (tier.agreement, tier.min_answers) == ("mean", 2)
        answer = Generation("x", "stop", 1, 1, logprobs=(TokenLogprob("x", -0.5),))
        assert tier.confidence(MEMBERS["models"][0], answer) == 1.0

    def test_another_signal_has_its_own_defaults(self):
        zscores = {name: {"mean": -1.0, "std": 0.5} for name in MEMBERS["models"]}
        signals = {"sure": {"kind": "chow_avg", "zscores": zscores}}
        app = AppConfig.model_validate(cascade(MEMBERS | {"signal": "sure"}, TARGET) | {"signals": signals})
        tier, target = app.tiers("default", [0.5], "rougeL")
        assert (tier.signal, tier.agreement, tier.confidence, tier.threshold) == ("rougeL", "max", None, 0.5)
        assert target == app.tiers("default", [0.5])[1]
        alone = AppConfig.model_validate(cascade({"models": ["a"], "signal": "chow_avg", "threshold": -1}, TARGET))
        assert alone.tiers("default", [-1], "rougeL") == alone.tiers("default", [-1])

    def test_thresholds_must_fit(self):
        with pytest.raises(ValueError, match="shorter"):
            AppConfig.model_validate(config()).tiers("default", [])


def test_one_answer_cannot_agree_with_itself():
    with pytest.raises(ValidationError) as raised:
        AppConfig.model_validate(cascade(MEMBERS | {"min_answers": 1}, TARGET))
    [sentence] = explain(raised.value, AppConfig)
    assert sentence == "cascades.default.tiers[0].min_answers: 'exact' compares answers, so at least 2 are needed."


def test_one_model_cannot_agree():
    with pytest.raises(ValidationError) as raised:
        AppConfig.model_validate(cascade(MEMBERS | {"models": ["a"]}, TARGET))
    [sentence] = explain(raised.value, AppConfig)
    assert sentence == (
        "cascades.default.tiers[0].signal: 'exact' compares answers, and there is one model. "
        "Available: chow_avg, chow_quantile, chow_sum."
    )


class TestBlend:
    ZSCORES: ClassVar[dict[str, Any]] = {name: {"mean": -1.0, "std": 0.5} for name in MEMBERS["models"]}
    BLEND: ClassVar[dict[str, Any]] = {"kind": "blend", "agreement": "rougeL", "confidence": "sure"}

    def app(self, blend: dict[str, Any], zscores: dict[str, Any]) -> AppConfig:
        signals = {"both": self.BLEND | blend, "sure": {"kind": "chow_avg", "zscores": zscores}}
        return AppConfig.model_validate(cascade(MEMBERS | {"signal": "both"}, TARGET) | {"signals": signals})

    def test_the_core_gets_both_parts(self):
        app = self.app({"weights": {"agreement": 2.0}, "logistic": True}, self.ZSCORES)
        tier, _ = app.tiers("default", [0.5])
        assert tier.blend == Blend(2.0, 1.0, 0.0, logistic=True)
        assert (tier.signal, tier.agreement, tier.token_level) == ("both", "max", False)
        answer = Generation("x", "stop", 1, 1, logprobs=(TokenLogprob("x", -0.5),))
        assert tier.confidence(MEMBERS["models"][0], answer) == 1.0
        assert "both" not in app.selectable()
        assert {"rougeL", "exact"} <= set(app.selectable())

    @pytest.mark.parametrize(
        ("blend", "zscores", "sentence"),
        [
            ({"agreement": "sure"}, ZSCORES, "signals.both.agreement: cannot be 'sure'."),
            ({"confidence": "exact"}, ZSCORES, "signals.both.confidence: cannot be 'exact'."),
            ({}, {}, "cascades.default.tiers[0].signal: 'both' has no zscores for 'a'"),
        ],
    )
    def test_what_it_is_made_of(self, blend: dict[str, Any], zscores: dict[str, Any], sentence: str):
        with pytest.raises(ValidationError) as raised:
            self.app(blend, zscores)
        assert explain(raised.value, AppConfig)[0].startswith(sentence)


class TestComposites:
    SIGNALS: ClassVar[dict[str, Any]] = {
        "both": {"kind": "mix", "parts": [{"signal": "sbert", "low": -1}, {"signal": "rougeL"}]},
        "fit": {"kind": "by_length", "cases": [{"signal": "exact", "max_characters": 9}, {"signal": "both"}]},
    }

    def test_the_scorer_offers_their_parts_and_the_router_the_rest(self):
        app = AppConfig.model_validate(cascade(MEMBERS | {"signal": "fit"}, TARGET) | {"signals": self.SIGNALS})
        assert set(app.composites()) == {"both", "fit"}
        assert {"sbert", "rougeL", "exact"} <= set(app.similarities())
        assert not set(app.composites()) & set(app.similarities())

    @pytest.mark.parametrize(
        ("name", "signal", "path"),
        [
            ("both", {"kind": "mix", "parts": [{"signal": "fit"}, {"signal": "exact"}]}, "parts[0].signal"),
            ("both", {"kind": "mix", "parts": [{"signal": "exact"}, {"signal": "chow_avg"}]}, "parts[1].signal"),
            (
                "fit",
                {"kind": "by_length", "cases": [{"signal": "fit", "max_characters": 9}, {"signal": "exact"}]},
                "cases[0].signal",
            ),
        ],
    )
    def test_what_they_are_made_of(self, name: str, signal: dict[str, Any], path: str):
        values = config() | {"signals": self.SIGNALS | {name: signal}}
        with pytest.raises(ValidationError) as raised:
            AppConfig.model_validate(values)
        assert any(
            sentence.startswith(f"signals.{name}.{path}: cannot be ") for sentence in explain(raised.value, AppConfig)
        )


class TestIsolatedSignals:
    def app(self, signal: str, **signals: Any) -> AppConfig:
        values = cascade(MEMBERS | {"signal": signal}, TARGET)
        return AppConfig.model_validate(values | {"signals": signals})

    def test_bleurt_is_deployed_apart_and_only_where_it_is_named(self):
        assert AppConfig.model_validate(config()).isolated() == {}
        app = self.app("bleurt")
        assert list(app.isolated()) == ["bleurt"]
        assert "bleurt" not in app.similarities()
        assert "bleurt" in app.selectable()
        assert ("bleurt", "hf://lucadiliello/BLEURT-20", None) in app.weights()

    def test_the_papers_own_encoder_has_a_name(self):
        app = self.app("sbert_mbert")
        assert "sbert_mbert" in app.similarities()
        assert ("sbert_mbert", "hf://google-bert/bert-base-multilingual-cased", None) in app.weights()

    def test_each_has_its_own_options(self):
        options = {"ray_actor_options": {"num_gpus": 0.5}}
        small = {"kind": "bleurt", "weights": "hf://lucadiliello/BLEURT-20-D3", "environment": "a/python"}
        app = self.app("exact", bleurt={"kind": "bleurt", "deployment": options}, small=small)
        large, small = app.isolated()["bleurt"], app.isolated()["small"]
        assert large.deployment.ray_actor_options.num_gpus == 0.5
        assert (large.runtime_env()["pip"]["packages"][0], small.runtime_env()["py_executable"]) == (
            "transformers==4.57.6",
            "a/python",
        )

    def test_which_deployments_compute_a_signal(self):
        mix = {"kind": "mix", "parts": [{"signal": "bleurt"}, {"signal": "rougeL"}]}
        app = self.app("both", both=mix)
        signals = ["bleurt", "rougeL", "both", "chow_avg"]
        assert [app.scorers(name) for name in signals] == [{"bleurt"}, {"Scorer"}, {"bleurt", "Scorer"}, set()]
        assert list(app.isolated()) == ["bleurt"]

    def test_its_deployment_needs_a_name_of_its_own(self):
        with pytest.raises(ValidationError) as raised:
            self.app("Scorer", Scorer={"kind": "bleurt"})
        [sentence] = explain(raised.value, AppConfig)
        assert sentence.startswith("signals.Scorer: this signal runs in a deployment of its own, and another has")


class TestSignals:
    def test_the_users_own_come_before_the_built_in(self):
        app = AppConfig.model_validate(config(signals={"exact": {"kind": "bleu"}, "mine": {"kind": "rouge1"}}))
        assert app.all_signals()["exact"].kind == "bleu"
        assert app.similarities()["mine"].kind == "rouge1"

    def test_sbert_is_only_loaded_where_it_is_named(self):
        assert "sbert" not in AppConfig.model_validate(config()).similarities()
        named = cascade(MEMBERS | {"signal": "sbert"}, TARGET)
        assert "sbert" in AppConfig.model_validate(named).similarities()
        assert set(AppConfig.model_validate(config()).similarities()) == {
            "exact",
            "bleu",
            "rouge1",
            "rouge2",
            "rougeL",
            "chrf",
            "json",
        }

    def test_unknown_options_of_a_signal(self):
        assert said(AppConfig, config(signals={"mine": {"kind": "chow_sum", "q": 0.5}})) == [
            "signals.mine: q has no meaning with 'chow_sum', only with 'chow_quantile'."
        ]


class TestRouterSettings:
    TWO = config(
        cascades={
            "default": {"tiers": [MEMBERS, TARGET]},
            "long": {"tiers": [MEMBERS, {"models": ["c"], "signal": "chow_avg", "threshold": -1}, TARGET]},
        }
    )

    def test_they_win_over_the_first_thresholds(self):
        app = AppConfig.model_validate(self.TWO)
        assert RouterSettings().applied_to(app) == {"default": [0.5], "long": [0.5, -1]}
        assert RouterSettings(thresholds={"long": [0.9, -2]}).applied_to(app) == {"default": [0.5], "long": [0.9, -2]}
        assert app.thresholds() == {"default": [0.5], "long": [0.5, -1]}

    def test_what_does_not_fit(self):
        app = AppConfig.model_validate(self.TWO)
        with pytest.raises(
            ValueError, match=r"^thresholds.long: needs 2 numbers, one for each tier but the last, got 1$"
        ):
            RouterSettings(thresholds={"long": [0.9]}).applied_to(app)
        with pytest.raises(ValueError, match=r"^thresholds.lang: no such cascade. Did you mean 'long'\? Available: d"):
            RouterSettings(thresholds={"lang": [0.9]}).applied_to(app)
        calibrated = {"id": "c", "thresholds": [0.5], "agreements": {"low": 1, "high": 0, "counts": [1]}}
        assert said(RouterSettings, {"calibrations": {"default": calibrated}}) == [
            "calibrations.default.agreements.high: needs at least low, 1, got 0."
        ]
        assert said(RouterSettings, {"threshold": {}}) == [
            "threshold: unknown key. Did you mean 'thresholds'? Available: calibrations, thresholds."
        ]


class TestOptions:
    def test_what_was_left_out_is_left_to_serve(self):
        assert options_of(DeploymentOptions()) == {
            "max_ongoing_requests": 64,
            "max_queued_requests": -1,
            "ray_actor_options": {"num_cpus": 0.1},
            "graceful_shutdown_timeout_s": 20,
        }

    def test_all(self):
        options = DeploymentOptions.model_validate(
            {
                "autoscaling_config": {"min_replicas": 0, "max_replicas": 3},
                "ray_actor_options": {"num_gpus": 0.5, "accelerator_type": "L4", "resources": {"fast": 1}, "memory": 5},
                "placement_group_bundles": [{"CPU": 2, "GPU": 1, "fast": 1, "memory": 5}, {"fast": 1}],
                "placement_group_strategy": "PACK",
            }
        )
        got = options_of(options)
        assert "num_replicas" not in got
        assert (got["autoscaling_config"]["min_replicas"], got["autoscaling_config"]["max_replicas"]) == (0, 3)
        assert "initial_replicas" not in got["autoscaling_config"]
        assert got["ray_actor_options"] == {
            "num_cpus": 2,
            "num_gpus": 0.5,
            "memory": 5,
            "accelerator_type": "L4",
            "resources": {"fast": 1},
        }
        first = {"CPU": 2, "GPU": 1, "fast": 1, "memory": 5, "accelerator_type:L4": 0.001}
        assert (got["placement_group_bundles"], got["placement_group_strategy"]) == ([first, {"fast": 1}], "PACK")
