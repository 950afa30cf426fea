"""`cascade choose` proposes ladders of one tier's members, and `cascade calibrate` takes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config.serve_file import load
from serve_app.core.types.answer import Answer, Generation
from serve_app.errors import DataError, UsageError
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.other_config import with_cascade
from serve_app.evaluation.choose import choose as choosing
from serve_app.evaluation.choose.output import snippet
from serve_app.evaluation.choose.results import Selection
from serve_app.evaluation.records.file import Records
from tests.cli.in_process import cascade
from tests.evaluation.synthetic import questions, serving_file, write_records

SIZES = {"b": 2e9, "a": 1e9, "c": 4e9, "t": 20e9}
COUNT = 240


def config() -> dict[str, Any]:
    models = {name: {"engine": "replay", "default": "x", "parameters": size} for name, size in SIZES.items()}
    tier = {"models": ["b", "a", "c"], "signal": "exact", "threshold": 0.5}
    return {"models": models, "cascades": {"default": {"tiers": [tier, {"models": ["t"]}]}}}


def kind(number: int) -> str:
    """Return how hard a question is: of ten, six are easy, two are known to c and t, and two to t alone."""
    return "easy" if number % 10 < 6 else "middling" if number % 10 < 8 else "hard"


def column(model: str, numbers: Sequence[int], right: Sequence[str]) -> list[Answer]:
    knows = {
        "easy": "abct",
        "middling": "act",
        "hard": "t",
    }
    texts = [right[k] if model in knows[kind(number)] else f"{model} errs" for k, number in enumerate(numbers)]
    return [Generation(text, "stop", 5, 5, None, 0.1) for text in texts]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write records in which every model reads and writes ten tokens, without log-probabilities."""
    examples = questions(COUNT)
    right = [example.references[0] for example in examples]
    columns = {model: column(model, range(COUNT), right) for model in SIZES}
    return write_records(tmp_path_factory.mktemp("ladders") / "records.jsonl", config(), examples, columns)


def select(path: Path, budget: float | None = None) -> Selection:
    records = Records.load(path)
    tiers, target = choosing.tiers(records, None, None)
    options = Options(tiers=tiers, target=target, signals=("exact",), resamples=100)
    return choosing.find(load_dataset(records, options), budget)


def test_a_ladder_costs_what_its_requests_get_to(path: Path) -> None:
    """All members agree on the easy ones, of a and b and c two on the middling ones: so c is asked on four of ten."""
    selection = select(path, 0.6)
    records = Records.load(path)
    dataset = load_dataset(records, Options(signals=("exact",)))
    *_, test = dataset.parts(dataset.groups[-1].index, CHOOSE, CALIBRATE)
    kinds = [kind(k) for k in test.tolist()]
    easy, hard = kinds.count("easy") / len(kinds), kinds.count("hard") / len(kinds)
    assert selection.best is not None
    assert [tier.models for tier in selection.best.tiers] == [("b", "a"), ("b", "a", "c")]
    assert selection.best.quality.estimate == 1
    assert selection.best.cost == pytest.approx((1 + 2 + 4 * (1 - easy) + 20 * hard) / 20)
    # The same decisions cost more if all three are asked at once.
    flat = [cascade for cascade in selection.front if cascade.tiers and cascade.tiers[0].models == ("b", "a", "c")]
    assert flat == []
    # 3 pairs and 1 triple by one signal, and one ladder: (a, b), then all; nobody is sure by itself.
    assert (selection.tried, selection.left_out) == (3 + 1 + 1, 0)


def test_a_ladder_and_a_single_tier_are_told_apart_in_json(path: Path) -> None:
    body = select(path, 0.6).to_json()
    assert [tier["models"] for tier in body["best"]["tiers"]] == [["b", "a"], ["b", "a", "c"]]
    assert "members" not in body["best"]
    alone = next(cascade for cascade in body["front"] if "members" in cascade)
    assert alone["members"] == []
    assert body["tried"] == 5


def test_ladders_beyond_the_limit_are_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MOST_LADDERS", 0)
    selection = select(path)
    assert (selection.tried, selection.left_out) == (4, 1)
    assert all(len(cascade.tiers) < 2 for cascade in selection.front)


def test_a_ladder_is_calibrated_from_a_config(path: Path, tmp_path: Path) -> None:
    best = select(path, 0.6).best
    assert best is not None
    values = config()
    values["cascades"]["ladder"] = yaml.safe_load(snippet(best))
    written, output = serving_file(tmp_path / "ladder.yaml", values), tmp_path / "calibrated.yaml"
    goal = ["--quality", "1", "--chosen", "--cascade", "ladder", "--config", written, "-o", output]
    result = cascade("calibrate", path, *goal)
    assert result.exit_code == 0, result.stderr
    assert "ladder: exact over b + a -> exact over b + a + c -> t" in result.stdout
    thresholds = load(output).thresholds()["ladder"]
    assert 0 < thresholds[0] <= 1
    assert 0 < thresholds[1] <= 0.5


def test_a_cascade_of_another_config_needs_the_records_answers(path: Path, tmp_path: Path) -> None:
    records = Records.load(path)
    values = config()
    values["models"]["d"] = values["models"]["a"]
    values["cascades"]["other"] = {"tiers": [{"models": ["d"]}]}
    written = serving_file(tmp_path / "other.yaml", values)
    with pytest.raises(DataError, match="the records have no answers of 'd', a model of 'other'"):
        with_cascade(records, written, "other")
    with pytest.raises(UsageError, match=r"Neither the records nor .* have a cascade 'oter'. Did you mean 'other'"):
        with_cascade(records, written, "oter")
    assert list(with_cascade(records, written, "default").config.cascades) == ["default"]
