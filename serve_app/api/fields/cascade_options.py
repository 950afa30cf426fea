"""Our own part of a request, the same in every API."""

from typing import Annotated, Literal

from pydantic import Field

from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.compare_options import CompareOptions

MAX_SESSION = 256
"""Characters of the name of a session."""


_MOST = "A tier that this does not allow is not asked, and the best answer so far goes back. The most that the request"


class CascadeOptions(Body):
    """Our own part of a request: how this request is decided."""

    threshold: float | Annotated[list[float], Field(max_length=64, fail_fast=True)] | None = Field(
        None, description="Instead of the threshold of every deferring tier: one number, or one for each."
    )
    willingness_to_pay_usd: float | None = Field(
        None,
        gt=0,
        description="Instead of a threshold: what a correct answer is worth, in US dollars. The thresholds are those "
        "of the least expected cost and loss, by the calibration in force.",
    )
    signal: str | None = Field(None, description="Instead of the signal of every deferring tier of several models.")
    compare: CompareOptions | None = Field(
        None, description="What of each answer the signal sees, instead of the view of every deferring tier."
    )
    force: Literal["accept", "defer"] | None = Field(None, description="Decide so whatever the agreement is.")
    include_answers: bool = Field(False, description="Put every model's answer into the decision record.")
    cache: bool = Field(
        True, description="False: the answer is not taken from the cascade's cache, nor shared, nor kept there."
    )
    skip: bool = Field(
        True, description="False: the cascade decides, whatever became of past requests like this one (`skip`)."
    )
    shed: bool = Field(
        True,
        description="False: the request is decided as usual also under pressure, where the operator allows that "
        "(`shed.opt_out`).",
    )
    max_cost_usd: float | None = Field(None, gt=0, description=f"{_MOST} may cost, in US dollars.")
    max_flops: float | None = Field(None, gt=0, description=f"{_MOST} may cost, in FLOPs.")
    max_latency_s: float | None = Field(
        None, gt=0, description=f"{_MOST} may take, in seconds; of this and the header x-request-timeout-s the lower."
    )
    session: Text | None = Field(
        None,
        min_length=1,
        max_length=MAX_SESSION,
        description="The conversation that the request belongs to; the header x-session-id says the same.",
    )


class StreamedOptions(CascadeOptions):
    """The same in an API whose streams can also tell how the cascade goes on."""

    events: bool = Field(
        False, description="Interleave what the models of every tier write, and each decision; with `stream: true`."
    )
