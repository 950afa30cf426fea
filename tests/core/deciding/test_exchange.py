"""Which thresholds a correct answer's worth pays for, worked by hand."""

import pytest

from serve_app.core.deciding.exchange import ExchangePoint, paid_for

CHEAP = ExchangePoint((0.1,), usd=1.0, quality=0.6)
MIDDLE = ExchangePoint((0.5,), usd=2.0, quality=0.8)
DEAR = ExchangePoint((0.9,), usd=5.0, quality=0.9)


@pytest.mark.parametrize(
    ("willingness", "chosen", "loss"),
    [
        (0.5, CHEAP, 1.2),  # 1 + .5 x .4
        (5.0, CHEAP, 3.0),  # as dear as the middle one: 1 + 5 x .4 = 2 + 5 x .2
        (6.0, MIDDLE, 3.2),  # 2 + 6 x .2, against 3.4 and 5.6
        (31.0, DEAR, 8.1),  # 5 + 31 x .1, against 8.2
    ],
)
def test_cost_and_loss_together_are_least(willingness: float, chosen: ExchangePoint, loss: float) -> None:
    assert paid_for([DEAR, CHEAP, MIDDLE], willingness) is chosen
    assert chosen.loss_usd(willingness) == pytest.approx(loss)


def test_without_points_there_is_nothing_to_choose() -> None:
    with pytest.raises(ValueError, match="empty"):
        paid_for([], 1.0)
