"""OpenAI's batches: files of requests, and the files of their responses. A request's `custom_id` is the example's id.

Documented at https://platform.openai.com/docs/guides/batch. Several models have a pair of files each, with the same
ids for the same prompts; the model is the one that the request names. Requests have no gold answers. Images cannot be
imported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

from serve_app.core.types.answer import Failure, FailureKind
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.engines.base import Meter
from serve_app.engines.wire.answer import Reading
from serve_app.engines.wire.dialect import Dialect
from serve_app.errors import DataError, EngineError
from serve_app.evaluation.importing.formats.rows import Row, SourceFile, read_objects
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.fields import field
from serve_app.files.json_lines import Object

HOST = "the batch"


@dataclass(frozen=True, slots=True)
class _Request:
    model: str
    example: Example


def recognises(path: Path, body: Object | None) -> bool:
    """Return whether the first object of a file is a request or a response of a batch."""
    return body is not None and "custom_id" in body and ("body" in body or "response" in body)


def read(files: Sequence[SourceFile]) -> Iterator[Row]:
    """Yield a row for each response. Raises DataError with file, line and field if one cannot be read."""
    requests: dict[str, list[_Request]] = {}
    responses: list[tuple[SourceFile, str, Object]] = []
    for file in files:
        for where, body in read_objects(file.path):
            if "response" in body:
                responses.append((file, where, body))
                continue
            try:
                requests.setdefault(field(body, "custom_id", str), []).append(_request(body))
            except ValueError as error:
                raise DataError(f"{where}: {error}.") from None
    for file, where, body in responses:
        try:
            yield _row(file, where, body, requests)
        except ValueError as error:
            raise DataError(f"{where}: {error}.") from None


def _request(body: Object) -> _Request:
    request = field(body, "body", dict)
    id_ = field(body, "custom_id", str)
    if "messages" in request:
        inputs: Object = {"messages": [_message(message) for message in field(request, "messages", list, "body.")]}
    elif "prompt" in request:
        inputs = {"prompt": field(request, "prompt", str, "body.")}
    else:
        raise ValueError("body: must have messages or a prompt; batches of other endpoints cannot be imported")
    example = {"id": id_, "task": "custom", "source": f"OpenAI batch, {id_}", "prompt_inputs": inputs, "references": []}
    return _Request(
        field(request, "model", str, "body."), Example.read(example | {"metadata": request.get("metadata") or {}})
    )


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise ValueError(f"body.messages: must be a list of objects, not {message!r}")
    content = message.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(parts) < len(content):
            raise ValueError("body.messages: only texts can be imported")
        content = "".join(field(part, "text", str, "body.messages.content.") for part in parts)
    role = "system" if message.get("role") == "developer" else message.get("role")
    return {"role": role, "content": content}


def _row(file: SourceFile, where: str, body: Object, requests: dict[str, list[_Request]]) -> Row:
    id_ = field(body, "custom_id", str)
    if id_ not in requests:
        raise ValueError(f"custom_id: no request {id_!r} is among the files to import")
    response = _object(body.get("response"))
    completion = _object(response.get("body"))
    request = _request_of(requests[id_], file.model, completion.get("model"))
    messages = request.example.prompt_inputs
    prompt = Prompt(
        tuple(Message(message["role"], message["content"]) for message in messages.get("messages", ())),
        text=messages.get("prompt"),
        sampling=Sampling(logprobs=_has_logprobs(completion)),
    )
    if response.get("status_code") != 200:
        return Row(where, file.model or request.model, request.example, _failure(body, completion))
    meter = Meter()
    try:
        reading = Reading(Dialect(request.model, HOST, stream=False), prompt, meter)
        reading.read(completion)
        answer = replace(reading.generation(), latency_s=nan, first_token_s=None)
    except EngineError as error:
        failed = Failure("error", str(error), latency_s=nan)
        return Row(where, file.model or request.model, request.example, failed)
    return Row(where, file.model or request.model, request.example, answer, counted=not answer.estimated)


def _request_of(requests: Sequence[_Request], file_model: str | None, answering_model: Any) -> _Request:
    """Return the request that a response answers: its model's, if several models were asked the same."""
    if len(requests) == 1:
        return requests[0]
    if file_model is not None:
        named_so = [request for request in requests if request.model == file_model]
        if not named_so and any(request.example != requests[0].example for request in requests):
            models = ", ".join(request.model for request in requests)
            raise ValueError(f"custom_id: several requests have it, of {models}; name the file after one of them")
        return (named_so or requests)[0]
    # A response names the model's version: gpt-4o-2024-08-06 of gpt-4o. The longest name that fits is the model's.
    fitting = [
        request
        for request in requests
        if isinstance(answering_model, str) and answering_model.startswith(request.model)
    ]
    if not fitting:
        models = ", ".join(request.model for request in requests)
        raise ValueError(
            f"response.body.model: {answering_model!r} is not among {models}; name the file's model: NAME=PATH"
        )
    return max(fitting, key=lambda request: len(request.model))


def _failure(body: Object, completion: Object) -> Failure:
    error = completion.get("error") or body.get("error")
    if isinstance(error, str) and error:
        return Failure("error", error, latency_s=nan)
    error = _object(error)
    kind: FailureKind = "context_length" if error.get("code") == "context_length_exceeded" else "error"
    return Failure(kind, str(error.get("message") or "The batch names no reason."), latency_s=nan)


def _has_logprobs(completion: Object) -> bool:
    choices = completion.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("logprobs") for choice in choices[:1]
    )


def _object(value: Any) -> Object:
    """Return a value that is an object, and an empty one for any other: an error page, or nothing."""
    return value if isinstance(value, dict) else {}
