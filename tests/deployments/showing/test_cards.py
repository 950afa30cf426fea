"""The cards of what clients can ask for."""

from tests.deployments.replies import CASCADES, MODELS, routed


def test_cards_are_the_cascades_and_then_the_models() -> None:
    cards = routed().cards()
    assert [(card.id, card.kind) for card in cards] == [
        *[(id_, "cascade") for id_ in CASCADES],
        *[(name, "model") for name in MODELS],
    ]
    assert cards[0].details == {
        "tiers": [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]
    }
    assert cards[2].details == {"engine": "replay", "parameters": 1e9}
