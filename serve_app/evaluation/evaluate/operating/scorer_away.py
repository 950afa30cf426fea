"""How a tier decides while its scorer is away: some answers by its own signal, others by the one that stands in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.core.deciding.deferral import standing_in
from serve_app.core.deciding.inline import compared_at_once, compared_if_needed
from serve_app.core.types.policy import Tier
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.statistics.curves import Integers


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A tier as it decides the examples `index`."""

    tier: Tier
    index: Integers


def without_scorer(view: CascadeView, tier: Tier) -> list[Rule]:
    """Return the rules by which a server decides a tier without any scorer; it defers all other examples.

    Answers that are short together are compared by the tier's own signal if the router computes it; of others all
    count together, as if they had arrived at once.
    """
    if tier.token_level:
        return [Rule(tier, view.group.index)]
    index = view.group.index
    texts = [view.dataset.replay.compared_texts(tier, k) for k in index]
    is_computed = np.array([_computes(view, tier, row) for row in texts], dtype=np.bool_)
    rules = [Rule(tier, index[is_computed])]
    if (substitute := standing_in(tier)) is not None:
        rules.append(
            Rule(substitute, index[~is_computed & np.array([compared_if_needed(row) for row in texts], dtype=np.bool_)])
        )
    return [rule for rule in rules if len(rule.index)]


def _computes(view: CascadeView, tier: Tier, texts: Sequence[str]) -> bool:
    """Return whether a router compares these texts by the tier's own signal without asking a scorer."""
    assert tier.signal is not None
    config = view.dataset.config
    computed = config.all_signals().computed_of(tier.signal, texts)
    return compared_at_once(texts, config.scorer.inline_characters) and config.lexical().keys() >= set(computed)
