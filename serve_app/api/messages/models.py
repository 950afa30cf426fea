"""The list of models as Anthropic's clients read it."""

from collections.abc import Sequence

from serve_app.api.service import ModelCard
from serve_app.core.record_json import JsonObject

UNKNOWN_DATE = "1970-01-01T00:00:00Z"
"""What Anthropic's API gives for a model whose date is not known."""


def model_info(card: ModelCard) -> JsonObject:
    """Build the object of one cascade or model."""
    return {
        "type": "model",
        "id": card.id,
        "display_name": card.id,
        "created_at": UNKNOWN_DATE,
        "lifecycle": "active",
        "kind": card.kind,
    }


def model_page(cards: Sequence[ModelCard]) -> JsonObject:
    """Build the only page of the list."""
    ids = [card.id for card in cards]
    ends = {"first_id": ids[0], "last_id": ids[-1]} if ids else {"first_id": None, "last_id": None}
    return {"data": [model_info(card) for card in cards], "has_more": False} | ends
