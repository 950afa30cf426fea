"""The exchange rate of a calibrated cascade: which thresholds a correct answer's worth in US dollars pays for."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExchangePoint:
    """Thresholds, one for each tier but the last, and the mean US dollars and quality of a request under them."""

    thresholds: tuple[float, ...]
    usd: float
    quality: float

    def loss_usd(self, willingness_usd: float) -> float:
        """Return the expected cost and w times the expected error, 1 - quality, in US dollars.

        For answers that are right or wrong the error is P(wrong).
        """
        return self.usd + willingness_usd * (1 - self.quality)


def paid_for(points: Sequence[ExchangePoint], willingness_usd: float) -> ExchangePoint:
    """Return the point of the least expected loss for this worth of a correct answer; of equal ones the cheapest.

    Raises ValueError if there are no points.
    """
    return min(points, key=lambda point: (point.loss_usd(willingness_usd), point.usd))
