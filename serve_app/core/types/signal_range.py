"""What is known of similarities before they are computed: bounds, and how those of three texts depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Literal

SLACK = 1e-6
"""Added to bounds that follow from other similarities: far above their rounding errors and the scores' resolution."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values of a signal, between `low` and `high`; each depends on its two texts alone and is never NaN.

    `relation` is what two similarities say about the third of three texts: `none`; `angles`: they are cosines of
    angles that keep the triangle inequality; `equality`: they are 1 for equal texts, else 0.
    """

    low: float
    high: float
    relation: Literal["none", "angles", "equality"] = "none"

    def nearest(self, similarities: Sequence[Sequence[float]]) -> float:
        """Return the most that the values of one more text against n >= 1 texts can add up to.

        `similarities` are those of the n texts; the diagonal is not read. For equality the text is one of the largest
        class of equal texts. For angles: cos x + cos y <= 2 cos((x + y) / 2), or 0 if x + y is above 180 degrees; x + y
        is at least the angle a between the two texts, 2 cos(a / 2) = sqrt(2 + 2 cos a), and each text is in n - 1
        pairs.
        """
        n = len(similarities)
        most = n * self.high
        if self.relation == "none" or n < 2:
            return most
        pairs = [[similarities[i][j] for j in range(n) if j != i] for i in range(n)]
        if self.relation == "equality":
            return 1 + max(map(fsum, pairs))
        half = fsum(sqrt(max(0.0, 2 + 2 * value + SLACK**2)) for row in pairs for value in row) / 2
        return min(most, half / (n - 1) + n * SLACK)
