from dataclasses import replace
from math import nan
from pathlib import Path

import pytest

from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.errors import DataError, UsageError
from serve_app.evaluation.records.example import digest
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import ConfigFacts, DataFacts, Header, SourceFacts
from serve_app.evaluation.records.lines import answer_body, example_body
from serve_app.evaluation.records.merge import merge
from tests.evaluation.collecting import question
from tests.evaluation.record_schema import check
from tests.evaluation.records.headers import FACTS, header, write
from tests.evaluation.untimed import untimed

PARIS = Generation("Paris", "stop", 5, 1, (TokenLogprob("Paris", -0.5),), latency_s=nan)


def first(folder: Path) -> Path:
    lines = [header(("a", "t")).body(), example_body(question(1))]
    lines += [answer_body("q1", "a", PARIS, {"judge": 0.5}), answer_body("q1", "t", Failure("error", "down"))]
    return write(folder / "first.jsonl", *lines)


def second(folder: Path, heads: Header | None = None, example: int = 1, text: str = "Rome") -> Path:
    heads = heads or replace(
        header(("b", "t")),
        created="2027-01-01T00:00:00+00:00",
        asked=SourceFacts("import", None),
        data=DataFacts("d", 2, ["y.jsonl"]),
        versions={"python": "3.12", "vllm": "1"},
    )
    lines = [heads.body(), example_body(question(1)), example_body(question(2))]
    lines += [
        answer_body(f"q{example}", "b", Generation(text, "stop", 5, 1)),
        answer_body("q1", "t", Failure("error", "down")),
    ]
    return write(folder / "second.jsonl", *lines)


def test_models_and_examples_of_both_are_in_one_file(tmp_path: Path) -> None:
    merge([first(tmp_path), second(tmp_path)], tmp_path / "both.jsonl.gz")
    check(tmp_path / "both.jsonl.gz")
    records = Records.load(tmp_path / "both.jsonl.gz")
    assert records.models == ("a", "t", "b")
    assert records.examples == [question(1), question(2)]
    paris, missing = records.answers["a"]
    assert (untimed(paris), missing) == (untimed(PARIS), None)
    assert list(records.answers["t"]) == [Failure("error", "down"), None]
    assert list(records.answers["b"]) == [Generation("Rome", "stop", 5, 1), None]
    assert records.scores("judge", "a") == [0.5, None]


def test_the_header_names_the_files_of_all(tmp_path: Path) -> None:
    merge([first(tmp_path), second(tmp_path)], tmp_path / "both.jsonl")
    merged = Records.load(tmp_path / "both.jsonl").header
    assert merged.data == DataFacts(digest([question(1), question(2)]), 2, ["x.jsonl", "y.jsonl"])
    assert merged.asked == SourceFacts("engines, import", None)
    assert merged.created == "2027-01-01T00:00:00+00:00"
    assert merged.versions == {"python": "3.11, 3.12", "vllm": "1"}
    assert list(merged.config.models) == ["a", "t", "b"]
    assert merged.config.args["cascades"] == header(("a", "t")).config.args["cascades"]


def test_what_both_have_must_be_the_same(tmp_path: Path) -> None:
    first_path, output = first(tmp_path), tmp_path / "both.jsonl"
    second_path = second(tmp_path, header(("a", "b", "t")))
    write(
        tmp_path / "third.jsonl",
        header().body(),
        example_body(question(1)),
        answer_body("q1", "a", replace(PARIS, text="Rome")),
    )
    with pytest.raises(DataError, match=r"first\.jsonl and .*third\.jsonl differ in the answer 'a' to 'q1', so they"):
        merge([first_path, tmp_path / "third.jsonl"], output)
    write(tmp_path / "third.jsonl", header().body(), example_body(question(1, references=["Rome"])))
    with pytest.raises(DataError, match=r"second\.jsonl and .*third\.jsonl differ in the example 'q1', so they cannot"):
        merge([second_path, tmp_path / "third.jsonl"], output)
    limits = header(("b", "t"))
    limits = replace(limits, sampling=replace(limits.sampling, max_tokens={"closed_book_qa": 9}))
    with pytest.raises(DataError, match=r"differ in max_tokens of 'closed_book_qa', so they cannot be merged\."):
        merge([first_path, second(tmp_path, limits, text="x")], output)
    assert not output.exists()


def sampled(path: Path, example: int, temperature: float, samples: int = 2) -> Path:
    members = [{"model": "a", "samples": samples, "temperature": temperature}]
    tiers = [{"models": members, "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]
    heads = header(("a", "t"))
    args = {**heads.config.args, "cascades": {"default": {"tiers": tiers}}}
    models = dict.fromkeys((*(f"a#{number + 1}" for number in range(samples)), "t"), FACTS)
    heads = replace(heads, config=ConfigFacts("c", args), models=models)
    answers = [answer_body(f"q{example}", model, PARIS) for model in models]
    return write(path, heads.body(), example_body(question(example)), *answers)


def test_samples_of_both_are_drawn_in_the_same_way(tmp_path: Path) -> None:
    first_path, second_path = sampled(tmp_path / "one", 1, 0.7), sampled(tmp_path / "two", 2, 0.7)
    third_path = sampled(tmp_path / "other", 2, 1.0)
    merge([first_path, second_path], tmp_path / "both.jsonl")
    assert Records.load(tmp_path / "both.jsonl").complete(("a#1", "a#2", "t")) == [0, 1]
    with pytest.raises(DataError, match="differ in the sampling of 'a#1', so they cannot be merged"):
        merge([first_path, third_path], tmp_path / "more.jsonl")


def test_the_first_file_says_how_the_samples_of_all_were_drawn(tmp_path: Path) -> None:
    plain, two, three = first(tmp_path), sampled(tmp_path / "two", 2, 0.7), sampled(tmp_path / "three", 2, 0.7, 3)
    with pytest.raises(
        DataError, match=r"two has samples that no tier of .*first\.jsonl has: a#1, a#2\. .*two first\.$"
    ):
        merge([plain, two], tmp_path / "both.jsonl")
    with pytest.raises(DataError, match=r"three has samples that no tier of .*two has: a#3\. "):
        merge([two, three], tmp_path / "both.jsonl")
    merge([three, two, plain], tmp_path / "both.jsonl")
    drawn = Records.load(tmp_path / "both.jsonl").header.samples()
    assert {name: sample.temperature for name, sample in drawn.items()} == dict.fromkeys(("a#1", "a#2", "a#3"), 0.7)


def test_one_file_is_not_merged_and_an_existing_one_not_replaced(tmp_path: Path) -> None:
    path = first(tmp_path)
    with pytest.raises(UsageError, match="Name at least two records files to merge"):
        merge([path], tmp_path / "x.jsonl")
    with pytest.raises(DataError, match=r"first\.jsonl' exists; choose another path with -o, or replace it"):
        merge([path, second(tmp_path)], path)


def test_an_answer_of_both_whose_latency_nobody_measured_is_the_same(tmp_path: Path) -> None:
    paths = [first(tmp_path).rename(tmp_path / "other.jsonl"), first(tmp_path)]
    merge(paths, tmp_path / "both.jsonl")
    assert Records.load(tmp_path / "both.jsonl").scores("judge", "a") == [0.5]


def test_a_folder_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"r\.jsonl' cannot be written: Not a directory"):
        merge([first(tmp_path), second(tmp_path)], tmp_path / "notes.txt" / "r.jsonl")
