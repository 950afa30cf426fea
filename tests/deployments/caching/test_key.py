"""The key of an answer: equal for equal requests alone."""

from copy import copy
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.running.run import Run
from serve_app.core.tools import AnswerSchema, Tool
from serve_app.core.types.blend import Blend
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Image, Message, Prompt, Sampling, ToolCall
from serve_app.core.views.view import After, Chain, View
from serve_app.deployments.caching.key import NOT_ASKED, request_key
from tests.core.scripted import PROMPT, TARGET, TIER, Judge


def run_of(prompt: Prompt = PROMPT, tiers: tuple[Tier, ...] = (TIER, TARGET), **fields: Any) -> Run:
    return Run(prompt, tiers, {}, Judge(), **fields)


def key(prompt: Prompt = PROMPT, tiers: tuple[Tier, ...] = (TIER, TARGET), **fields: Any) -> bytes:
    return request_key("default", run_of(prompt, tiers, **fields), "c1")


FULL = Prompt(
    messages=(
        Message("user", "Hi", parts=("Hi", Image("data:image/png;base64,AA=="))),
        Message("assistant", "", (ToolCall("1", "f", "{}"),)),
        Message("tool", "18", tool_call_id="1"),
    ),
    sampling=Sampling(temperature=0.0),
    tools=(Tool("f", "What it does.", {"type": "object"}),),
    response_format=AnswerSchema("answer", {"type": "object"}),
)
POLICY = replace(TIER, blend=Blend(1.0, 0.5), compare=View(take=(Chain(After("Answer:"), "last_number"),)))

PARTS: list[tuple[Any, Any]] = [
    (FULL, lambda part: key(part)),
    (FULL.sampling, lambda part: key(replace(FULL, sampling=part))),
    (FULL.messages[0], lambda part: key(replace(FULL, messages=(part, *FULL.messages[1:])))),
    (
        FULL.messages[1].tool_calls[0],
        lambda part: key(replace(FULL, messages=(FULL.messages[0], Message("assistant", "", (part,))))),
    ),
    (FULL.tools[0], lambda part: key(replace(FULL, tools=(part,)))),
    (FULL.response_format, lambda part: key(replace(FULL, response_format=part))),
    (POLICY, lambda part: key(FULL, (part, TARGET))),
]


@pytest.mark.parametrize(("part", "key_of"), PARTS, ids=[type(part).__name__ for part, _ in PARTS])
def test_every_field_is_in_the_key(part: Any, key_of: Any) -> None:
    changed = [with_another(part, field.name) for field in fields(part) if field.compare]
    keys = [key_of(part), *map(key_of, changed)]
    assert len(set(keys)) == len(keys) > 1
    assert key_of(copy(part)) == keys[0]


def with_another(part: Any, field: str) -> Any:
    """Return a copy with another value in a field of any type, so that a new field is tested, too."""
    changed = copy(part)
    object.__setattr__(changed, field, f"another {field}")
    return changed


def test_a_raw_text_is_in_the_key() -> None:
    texts = [Prompt(text=text) for text in ("", "a", "b")]
    assert len({key(prompt) for prompt in (PROMPT, *texts)}) == 4


def test_every_field_of_a_run_is_in_the_key_unless_it_is_about_how_it_is_made() -> None:
    names = [field.name for field in fields(Run)]
    assert set(names) >= NOT_ASKED
    keys = {name: request_key("default", with_another(run_of(), name), "c1") for name in names}
    assert {keys[name] for name in NOT_ASKED} == {key()}
    field_keys = [keys[name] for name in names if name not in NOT_ASKED]
    assert len({key(), *field_keys}) == 1 + len(field_keys) > 5


def test_cascade_calibration_and_tenant_are_in_the_key() -> None:
    run = run_of()
    parts: list[tuple[str, str | None, str | None]] = [
        ("default", None, None),
        ("other", None, None),
        ("default", "c1", None),
        ("default", None, "c1"),
        ("default", "c1", "c1"),
    ]
    assert len({request_key(cascade, run, calibration, tenant) for cascade, calibration, tenant in parts}) == 5


def test_where_a_request_came_from_is_not_in_the_key() -> None:
    assert key(replace(PROMPT, trace={"traceparent": "00-1-1-01"})) == key()


def test_the_order_of_messages_counts() -> None:
    ab = (Message("user", "a"), Message("user", "b"))
    assert key(Prompt(ab)) != key(Prompt(ab[::-1]))


def test_the_order_of_a_schema_counts_because_models_read_it() -> None:
    a, b = ({"type": "object", "title": "x"}, {"title": "x", "type": "object"})
    assert key(replace(FULL, tools=(Tool("f", None, a),))) != key(replace(FULL, tools=(Tool("f", None, b),)))


def test_a_value_without_a_canonical_form_is_a_fault() -> None:
    with pytest.raises(TypeError, match=r"^A set has no canonical form for the key of a cached answer\.$"):
        key(replace(PROMPT, tools=(Tool("f", None, {"type": {"a"}}),)))


TEXTS = st.sampled_from(["", "a", "b", '"', "[", "\ud800", "é"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 0.0, 1.0, "", "a", "1", "null"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
CALLS = st.builds(ToolCall, TEXTS, TEXTS, TEXTS)
MESSAGES = st.builds(Message, TEXTS, TEXTS, st.lists(CALLS, max_size=2).map(tuple), st.none() | TEXTS)
SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.none() | st.integers(1, 2),
    temperature=st.sampled_from([None, 0.0, 1.0]),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
    seed=st.none() | st.integers(0, 1),
)
TOOLS = st.builds(Tool, TEXTS, st.none() | TEXTS, st.none() | st.dictionaries(TEXTS, VALUES, max_size=2))
PROMPTS = st.builds(
    Prompt,
    st.lists(MESSAGES, min_size=1, max_size=2).map(tuple),
    sampling=SAMPLINGS,
    tools=st.lists(TOOLS, max_size=2).map(tuple),
)


@settings(max_examples=50, deadline=None)
@given(PROMPTS, PROMPTS)
def test_keys_are_equal_for_equal_prompts_alone(a: Prompt, b: Prompt) -> None:
    # Unlike ==, repr tells 1 from 1.0 and from True, and sees the order of a dict.
    assert (key(a) == key(b)) == (repr(a) == repr(b))
    assert key(a) == key(replace(a))
