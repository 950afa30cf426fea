import hashlib
from dataclasses import replace

import pytest

from serve_app.evaluation.records.example import Example, canonical, digest
from tests.evaluation.collecting import question


def test_the_digest_is_of_the_content() -> None:
    example = Example("1", "closed_book_qa", "s", {"question": "Où?"}, ("Là",))
    written = (
        b'{"id":"1","prompt_inputs":{"question":"O\\u00f9?"},"references":["L\\u00e0"],"source":"s",'
        b'"task":"closed_book_qa"}\n'
    )
    assert digest([example]) == hashlib.sha256(written).hexdigest()
    examples = [example, question(2)]
    assert digest(examples) == digest(examples[::-1]) != digest([example])


def test_metadata_are_part_of_the_digest_only_of_examples_that_have_any() -> None:
    plain = question(1)
    assert digest([replace(plain, metadata={})]) == digest([plain])
    assert "metadata" not in plain.body()
    hard = replace(plain, metadata={"difficulty": "hard", "hops": [1, 2], "seen": None})
    assert hard.body() == plain.body() | {"metadata": {"difficulty": "hard", "hops": [1, 2], "seen": None}}
    assert Example.read(hard.body()) == hard
    assert digest([hard]) != digest([plain])


def test_metadata_that_are_no_object_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^metadata: must be an object"):
        Example.read({**question(1).body(), "metadata": ["hard"]})


def test_an_example_comes_back_as_it_was() -> None:
    assert Example.read(question(1).body()) == question(1)


def test_a_body_with_an_unknown_field_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"^reference: no such field\. Did you mean 'references'\?"):
        Example.read({**question(1).body(), "reference": "He"})


def test_canonical_bytes_do_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": "é"}) == canonical({"a": "é", "b": 1}) == b'{"a":"\\u00e9","b":1}'
