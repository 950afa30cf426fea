"""What a user writes about skip, and what is said of what cannot be meant."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config import AppConfig
from serve_app.config.explain import explain
from serve_app.core.deciding.skip import SkipPolicy

MODELS = {name: {"engine": "replay", "default": "x"} for name in ("a", "b", "t")}
TIER = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}
SKIP = {"fitted": "skip.npz", "encoder": "sbert", "defer_above": 0.95}


def config(skip: Any, tier: Any = TIER, **cascade: Any) -> AppConfig:
    tiers = ([] if tier is None else [tier]) + [{"models": ["t"]}]
    return AppConfig.model_validate({"models": MODELS, "cascades": {"c": {"tiers": tiers, "skip": skip} | cascade}})


@pytest.mark.parametrize("off", ["off", False, None])
def test_it_is_off_by_default(off: Any) -> None:
    assert config(off).cascades["c"].skip_policy() is None
    assert "sbert" not in config(off).similarities()


def test_the_first_member_answers_what_is_accepted_unless_another_is_named() -> None:
    assert config(SKIP).cascades["c"].skip_policy() == SkipPolicy(25, 0.95, None, "a", 0.5)
    assert config(SKIP, TIER | {"select": "b"}).cascades["c"].skip_policy() == SkipPolicy(25, 0.95, None, "b", 0.5)
    named = SKIP | {"accept_above": 1, "member": "b", "k": 9}
    assert config(named).cascades["c"].skip_policy() == SkipPolicy(9, 0.95, 1.0, "b", 0.5)


def test_its_encoder_is_loaded() -> None:
    assert "sbert" in config(SKIP).similarities()
    assert [name for name, *_ in config(SKIP).weights()] == ["sbert"]


@pytest.mark.parametrize(
    ("skip", "tier", "sentence"),
    [
        (SKIP | {"encoder": "sbrt"}, TIER, "cascades.c.skip.encoder: no sbert signal 'sbrt'. Did you mean 'sbert'?"),
        (SKIP | {"encoder": "rougeL"}, TIER, "cascades.c.skip.encoder: no sbert signal 'rougeL'."),
        ({"fitted": "x", "encoder": "sbert"}, TIER, "cascades.c.skip: needs defer_above, accept_above or both"),
        (SKIP | {"member": "a"}, TIER, "cascades.c.skip.member: has no effect without accept_above"),
        (SKIP | {"accept_above": 1, "member": "t"}, TIER, "cascades.c.skip.member: 't' is not a member."),
        (SKIP | {"defer_above": 0.5}, TIER, "cascades.c.skip.defer_above"),
        (SKIP | {"k": 4}, TIER, "cascades.c.skip.k"),
        (SKIP, None, "cascades.c.skip: has no effect: the cascade has one tier"),
    ],
)
def test_faults_are_named(skip: Any, tier: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(skip, tier)
    assert sentence in " ".join(explain(caught.value, AppConfig))


def test_no_request_skips_the_members_whose_answers_are_to_stand_in_for_the_targets() -> None:
    accepting = {"fitted": "skip.npz", "encoder": "sbert", "accept_above": 0.95}
    assert config(accepting, on_target_failure="best_member").cascades["c"].skip_policy() is not None
    with pytest.raises(ValidationError) as caught:
        config(SKIP, on_target_failure="best_member")
    sentence = "cascades.c.skip.defer_above: leaves on_target_failure: best_member no member's answer to return"
    assert sentence in " ".join(explain(caught.value, AppConfig))
