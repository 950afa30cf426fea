import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.load import load_examples
from serve_app.evaluation.records.tasks import TASKS, Prompts
from tests.evaluation.collecting import DATA, question, write_examples

LINE = {"id": "1", "task": "closed_book_qa", "prompt_inputs": {"question": "Who?"}, "references": ["He"]}


def write(path: Path, *lines: Any) -> str:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return str(path)


def test_a_file(tmp_path: Path) -> None:
    custom = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\u2028there"}]}
    lines = [
        {**LINE, "source": "mine, 1"},
        "",
        json.dumps({"id": "é", "task": "custom", "prompt_inputs": custom, "references": []}, ensure_ascii=False),
    ]
    assert load_examples([write(tmp_path / "a.jsonl", *lines)]) == [
        Example("1", "closed_book_qa", "mine, 1", {"question": "Who?"}, ("He",)),
        Example("é", "custom", "", custom, ()),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"id": ""}, "id: must not be empty."),
        ({"id": 5}, "id: must be a string."),
        ({"source": None}, "source: must be a string."),
        (
            {"task": "closed_book"},
            "task: no task 'closed_book'. Did you mean 'closed_book_qa'? Available: closed_book_qa,",
        ),
        ({"reference": "He"}, "reference: no such field. Did you mean 'references'? Available:"),
        ({"references": "He"}, "references: must be a list of strings."),
        ({"prompt_inputs": []}, "prompt_inputs: must be an object."),
        ({"prompt_inputs": {}}, "prompt_inputs.question: required for closed_book_qa, but missing."),
        ({"prompt_inputs": {"question": 1}}, "prompt_inputs.question: must be a string."),
        (
            {"prompt_inputs": {"question": "Who?", "contex": ""}},
            "prompt_inputs.contex: closed_book_qa has no such field. Available: question.",
        ),
        (
            {"task": "custom", "prompt_inputs": {"prompt": "a", "messages": []}},
            "prompt_inputs: custom has either a prompt or messages, and nothing else.",
        ),
        ({"task": "custom", "prompt_inputs": {"prompt": None}}, "prompt_inputs.prompt: must be a string."),
        (
            {"task": "custom", "prompt_inputs": {"messages": []}},
            "prompt_inputs.messages: must be a list of at least one message.",
        ),
        (
            {"task": "custom", "prompt_inputs": {"messages": [{"role": "user"}]}},
            "prompt_inputs.messages[0]: must be an object with a role and a content.",
        ),
        (
            {"task": "custom", "prompt_inputs": {"messages": [{"role": "tool", "content": ""}]}},
            "prompt_inputs.messages[0].role: must be one of system, user, assistant.",
        ),
        (
            {"task": "custom", "prompt_inputs": {"messages": [{"role": "user", "content": []}]}},
            "prompt_inputs.messages[0].content: must be a string.",
        ),
    ],
)
def test_what_is_wrong_with_a_line_is_named(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path / "a.jsonl", LINE, {**LINE, "id": "2", **change})
    with pytest.raises(DataError) as caught:
        load_examples([path])
    assert str(caught.value).startswith(f"{path}:2: {sentence}")


def test_files_of_other_programs(tmp_path: Path) -> None:
    question = {"question": "Who\u2028is\x85he?"}
    lines = [json.dumps({**LINE, "id": id_, "prompt_inputs": question}, ensure_ascii=False) for id_ in "12"]
    content = "\r\n\r\n".join(lines).encode("utf-8-sig")
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(content))
    for name in ("a.jsonl", "b.jsonl.gz"):
        examples = load_examples([str(tmp_path / name)])
        assert [(example.id, example.prompt_inputs) for example in examples] == [("1", question), ("2", question)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt_inputs": {"question": "\ud83d"}}, "prompt_inputs.question"),
        (
            {"task": "custom", "prompt_inputs": {"messages": [{"role": "user", "content": "a \ude00"}]}},
            "prompt_inputs.messages[0].content",
        ),
        ({"references": ["He", "\ud83d!"]}, "references[1]"),
        ({"id": "\ud83d"}, "id"),
    ],
)
def test_half_a_surrogate_pair_is_named(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    path = write(tmp_path / "a.jsonl", LINE, {**LINE, "id": "2", **change})
    with pytest.raises(DataError) as caught:
        load_examples([path])
    assert str(caught.value) == f"{path}:2: {field}: has half of a surrogate pair, which is not a character."


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", r":1: not JSON: Expecting property name"),
        ("[]", r":1: must be a JSON object\."),
        ("{}", r":1: id: required, but missing\."),
    ],
)
def test_a_line_that_is_not_an_example(tmp_path: Path, line: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        load_examples([write(tmp_path / "a.jsonl", line)])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The file 'nowhere.jsonl' cannot be read: No such file or directory\."):
        load_examples(["nowhere.jsonl"])
    (tmp_path / "latin.jsonl").write_bytes('{"id": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.jsonl:1: not UTF-8 at byte 9\."):
        load_examples([str(tmp_path / "latin.jsonl")])
    with pytest.raises(DataError, match="No examples in"):
        load_examples([write(tmp_path / "empty.jsonl", "")])


def test_an_id_stands_once_in_all_files(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.jsonl", LINE), write(tmp_path / "b.jsonl", {**LINE, "id": "2"}, LINE)]
    with pytest.raises(DataError) as caught:
        load_examples(paths)
    assert str(caught.value) == f"{paths[1]}:2: duplicate id '1', first used at {paths[0]}:1."


def test_a_limit_is_of_each_file_and_a_larger_one_adds(tmp_path: Path) -> None:
    files = [
        str(write_examples(tmp_path / f"{name}.jsonl", [question(i) for i in range(start, start + 50)]))
        for name, start in (("a", 0), ("b", 50))
    ]
    assert [example.id for example in load_examples(files, limit=2)] == ["q0", "q1", "q50", "q51"]
    samples = [load_examples(files, limit, seed=7) for limit in (5, 5, 20, 50, 60)]
    assert samples[0] == samples[1]
    assert [len(sample) for sample in samples] == [10, 10, 40, 100, 100]
    assert samples[0] != load_examples(files, 5)
    for fewer, more in pairwise(samples):
        assert {example.id for example in fewer} <= {example.id for example in more}
    assert [int(example.id[1:]) for example in samples[2]] == sorted(int(example.id[1:]) for example in samples[2])


def test_the_real_data_is_read_and_every_prompt_made() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real data: {DATA} is missing")
    files = sorted(map(str, DATA.glob("*.jsonl")))
    examples = load_examples(files)
    assert len(examples) == sum(len(Path(file).read_bytes().splitlines()) for file in files) > 6000
    prompts = Prompts()
    for example in examples:
        [message] = prompts.messages(example.task, example.prompt_inputs)
        assert all(example.prompt_inputs[name] in message.content for name in TASKS[example.task].inputs[-1:])
