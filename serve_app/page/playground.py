"""The playground's requests beside the API itself: what there is to try, and what would have been decided."""

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import FastAPI, Request, Response
from pydantic import Field, field_validator

from serve_app.api.encoding import Reply
from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.caller import Caller, caller_of
from serve_app.core.cost import estimated_tokens
from serve_app.core.record import tier_record
from serve_app.core.record_json import JsonObject, tier_json
from serve_app.core.types.answer import Answer, Failure, FinishReason, Generation
from serve_app.core.types.outcome import TierResult
from serve_app.core.types.prompt import ToolCall
from serve_app.signals.composites.contradictions import Check

MAX_ANSWERS = 64
MAX_CALLS = 128
MAX_CHARACTERS = 100_000
"""Characters of all answers together: they are compared while other requests wait."""
MISSING = Failure("error", "It gave no answer.")


class MemberCall(Body):
    """A tool call of an answer, as the decision record has it."""

    name: Text
    arguments: Text


class MemberAnswer(Body):
    """An answer that a member gave."""

    text: Text = ""
    tool_calls: Annotated[list[MemberCall], Field(max_length=MAX_CALLS, fail_fast=True)] = []
    finish_reason: FinishReason = "stop"

    @property
    def texts(self) -> list[str]:
        """Return the answer's text and tool calls."""
        return [self.text, *(text for call in self.tool_calls for text in (call.name, call.arguments))]

    @property
    def characters(self) -> int:
        """Return the number of characters of the answer's text and tool calls."""
        return sum(map(len, self.texts))

    def generation(self) -> Generation:
        """Return the answer as the decision core takes it."""
        calls = tuple(ToolCall(str(number), call.name, call.arguments) for number, call in enumerate(self.tool_calls))
        return Generation(self.text, self.finish_reason, 0, 0, tool_calls=calls)


class DecideRequest(Body):
    """`POST /page/decide`: answers that are there already, and how to decide on them."""

    model: Text = Field(min_length=1, description="A cascade.")
    tier: int = Field(0, ge=0, le=MAX_ANSWERS, description="Number of the tier, from 0.")
    answers: Annotated[list[MemberAnswer | None], Field(max_length=MAX_ANSWERS, fail_fast=True)] = Field(
        description="One for each of the tier's models, in order; null: it gave none."
    )
    cascade: CascadeOptions = Field(CascadeOptions(), description="Options that differ from the config.")
    veto: list[Check] = Field(
        [], max_length=8, description="Pairs of answers that contradict each other in this get the floor."
    )

    @field_validator("answers")
    @classmethod
    def _short(cls, answers: list[MemberAnswer | None]) -> list[MemberAnswer | None]:
        if sum(answer.characters for answer in answers if answer is not None) > MAX_CHARACTERS:
            raise ValueError(f"must have at most {MAX_CHARACTERS} characters in all")
        return answers

    @property
    def tokens(self) -> int:
        """Return the tokens of all answers, as estimated from their texts."""
        return sum(estimated_tokens(text) for answer in self.answers if answer is not None for text in answer.texts)

    def core_answers(self) -> list[Answer]:
        """Return the answers as the decision core takes them."""
        return [MISSING if answer is None else answer.generation() for answer in self.answers]


class Playground(Protocol):
    """The server's side of the playground."""

    def about(self, caller: Caller) -> JsonObject:
        """Return the cascades that the caller may ask, with their policies, and what can be tried in their place."""
        ...

    async def decide(
        self,
        model: str,
        number: int,
        answers: Sequence[Answer],
        options: CascadeOptions,
        veto: Sequence[Check],
        caller: Caller,
    ) -> TierResult:
        """Decide on answers of a cascade's tier, without a call to any model.

        Raises `RequestError` if they do not fit the cascade, or the caller may not ask it.
        """
        ...


def install_playground(app: FastAPI, playground: Playground) -> None:
    """Make the app answer what the playground asks."""

    @app.get("/page/about", include_in_schema=False)
    async def about(request: Request) -> Response:
        return Reply(playground.about(caller_of(request.scope)))

    @app.post("/page/decide", include_in_schema=False)
    async def decide(body: DecideRequest, request: Request) -> Response:
        caller = caller_of(request.scope)
        result = await playground.decide(body.model, body.tier, body.core_answers(), body.cascade, body.veto, caller)
        caller.spend(body.tokens)
        return Reply(tier_json(tier_record(result, answers=True)))
