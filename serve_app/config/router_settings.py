"""The router's `user_config`: what a deploy changes without restarting a replica."""

from typing import Any, Self

from pydantic import Field, NonNegativeInt, model_validator

from serve_app.config.app import AppConfig
from serve_app.config.cascades.cascade import check_lower
from serve_app.config.strict import Strict
from serve_app.core.deciding.exchange import ExchangePoint
from serve_app.core.deciding.histogram import Histogram
from serve_app.errors import choices, counted

MOST_EXCHANGED = 1000
"""Points of an exchange rate, each of which every request with a willingness to pay is compared with."""
MOST_BINS = 1000


class Exchanged(Strict):
    """Thresholds, and the mean US dollars and quality of a request under them."""

    thresholds: list[float] = Field(description="One for each tier but the last.")
    usd: float = Field(ge=0, description="Mean cost of a request.")
    quality: float = Field(ge=0, le=1, description="Mean quality of a request.")

    def point(self) -> ExchangePoint:
        """Return the point as the decision core takes it."""
        return ExchangePoint(tuple(self.thresholds), self.usd, self.quality)


class AgreementHistogram(Strict):
    """How the first tier's agreement was spread over the requests that its threshold came from."""

    low: float = Field(description="Where the first bin begins.")
    high: float = Field(description="Where the last bin ends.")
    counts: list[NonNegativeInt] = Field(
        min_length=1, max_length=MOST_BINS, description="Requests in each of the equally wide bins."
    )

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high: needs at least low, {self.low:g}, got {self.high:g}")
        return self

    def histogram(self) -> Histogram:
        """Return the histogram as the live view takes it."""
        return Histogram(self.low, self.high, tuple(self.counts))


class UnderPressure(Strict):
    """The thresholds of a cascade that sheds, as `cascade calibrate --shed` wrote them."""

    thresholds: list[float] = Field(description="One for each tier but the last, none above the usual one.")
    goal: str = Field("", description="The goal, in a sentence.")
    deferral_rate: tuple[float, float, float] | None = Field(
        None, description="Share of requests that the first tier should defer by them, and its 95% interval."
    )
    report: dict[str, Any] = Field({}, description="Data, examples and intervals, for people to read.")


class Calibrated(Strict):
    """Where a cascade's thresholds come from, as `cascade calibrate` wrote it."""

    id: str = Field(description="Named in every decision record that was decided under it.")
    thresholds: list[float] = Field(description="Those it is about; with others in force it is refused.")
    goal: str = Field("", description="The goal, in a sentence.")
    deferral_rate: tuple[float, float, float] | None = Field(
        None, description="Share of requests that the first tier should defer, and its 95% interval: drift shows by it."
    )
    exchange: list[Exchanged] = Field(
        [], max_length=MOST_EXCHANGED, description="What quality costs, for requests with `willingness_to_pay_usd`."
    )
    agreements: AgreementHistogram | None = Field(
        None, description="How the first tier's agreement was spread: the live view shows by it how requests changed."
    )
    shed: UnderPressure | None = Field(None, description="The same under pressure, for a cascade with `shed`.")
    report: dict[str, Any] = Field({}, description="Data, examples and intervals, for people to read.")


class RouterSettings(Strict):
    """The router's `user_config`: what `serve deploy` changes without restarting a replica."""

    thresholds: dict[str, list[float]] = Field({}, description="For each cascade, one for each tier but the last.")
    calibrations: dict[str, Calibrated] = Field({}, description="For each cascade that has been calibrated.")

    def applied_to(self, config: AppConfig) -> dict[str, list[float]]:
        """Return the thresholds in force: these over the first ones. Raises ValueError if they fit no cascade."""
        thresholds = config.thresholds()
        for id_, row in self.thresholds.items():
            if id_ not in thresholds:
                raise ValueError(f"thresholds.{id_}: no such cascade. {choices(id_, list(thresholds))}".rstrip("."))
            if len(row) != len(thresholds[id_]):
                expected = counted(len(thresholds[id_]), "number")
                raise ValueError(f"thresholds.{id_}: needs {expected}, one for each tier but the last, got {len(row)}")
            thresholds[id_] = row
        for id_, calibrated in self.calibrations.items():
            if id_ not in thresholds:
                raise ValueError(f"calibrations.{id_}: no such cascade. {choices(id_, list(thresholds))}".rstrip("."))
            if calibrated.thresholds != thresholds[id_]:
                raise ValueError(f"calibrations.{id_}: is about {calibrated.thresholds}, not about {thresholds[id_]}")
            if calibrated.shed is not None:
                check_lower(f"calibrations.{id_}.shed.thresholds", calibrated.shed.thresholds, thresholds[id_])
            for number, point in enumerate(calibrated.exchange):
                if len(point.thresholds) != len(thresholds[id_]):
                    where = f"calibrations.{id_}.exchange[{number}].thresholds"
                    raise ValueError(f"{where}: needs {len(thresholds[id_])}, got {len(point.thresholds)}")
        return thresholds

    def shed_thresholds(self, config: AppConfig) -> dict[str, list[float]]:
        """Return the thresholds under pressure, those of calibrations over those of the config, if there are any."""
        thresholds_by_cascade = {
            id_: cascade.shed.thresholds for id_, cascade in config.cascades.items() if cascade.shed is not None
        }
        thresholds_by_cascade |= {
            id_: calibration.shed.thresholds
            for id_, calibration in self.calibrations.items()
            if calibration.shed and id_ in thresholds_by_cascade
        }
        return {id_: thresholds for id_, thresholds in thresholds_by_cascade.items() if thresholds is not None}
