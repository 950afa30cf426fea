"""The decision as headers of a response."""

from serve_app.core.record import DecisionRecord


def decision_headers(record: DecisionRecord) -> dict[str, str]:
    """Return the decision as headers of a plain response, for clients and logs that do not read the body."""
    decision = record.tiers[0].decision
    agreement = decision.agreement if decision else None
    shown = {
        "x-cascade-deferred": str(record.deferred).lower(),
        "x-cascade-answered-by": record.answered_by,
        "x-cascade-agreement": None if agreement is None else f"{agreement:.6g}",
    }
    return {name: value for name, value in shown.items() if value is not None}
