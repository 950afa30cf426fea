"""The decision as headers of a response."""

from serve_app.core.record import DecisionRecord

DECISION_HEADERS = ("x-cascade-deferred", "x-cascade-answered-by", "x-cascade-agreement")


def decision_headers(record: DecisionRecord) -> dict[str, str]:
    """Return the decision as headers of a plain response, for clients and logs that do not read the body."""
    decision = record.tiers[0].decision
    agreement = decision.agreement if decision else None
    values = (str(record.deferred).lower(), record.answered_by, None if agreement is None else f"{agreement:.6g}")
    return {name: value for name, value in zip(DECISION_HEADERS, values, strict=True) if value is not None}
