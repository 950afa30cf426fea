"""The tiny checkpoint says nothing of meaning; it says whether every pair is computed, and as the reference does it."""

import random
import shutil
from itertools import permutations
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from serve_app.errors import SignalError
from serve_app.signals import BleurtConfig, build_signal
from serve_app.signals.bleurt import PACKAGES
from tests.models.bleurt_process import PARAMETERS, SENTENCES, BleurtProcess
from tests.models.pickles import hostile
from tests.signals.conftest import random_pairs

FIRST, SECOND, THIRD, _ = SENTENCES
LONG, LONGER, SHORT = "cat " * 400, "bird by the window " * 300, "Paris"


def test_equal_to_the_reference_one_pair_at_a_time(bleurt: BleurtProcess) -> None:
    requests = [list(pair) for pair in random_pairs(30)] + [SENTENCES]
    for texts, scores in zip(requests, bleurt.similarities(requests), strict=True):
        pairs = list(permutations(range(len(texts)), 2))
        expected = bleurt.call("reference", [(texts[i], texts[j]) for i, j in pairs])
        assert [scores.similarities[i][j] for i, j in pairs] == pytest.approx(expected, abs=1e-5)


def test_the_row_is_the_hypothesis_and_the_column_the_reference(bleurt: BleurtProcess) -> None:
    [scores] = bleurt.similarities([[FIRST, THIRD]])
    [forwards, backwards] = bleurt.call("reference", [(FIRST, THIRD), (THIRD, FIRST)])
    assert abs(forwards - backwards) > 1e-3
    assert scores.similarities == (
        (1.0, pytest.approx(forwards, abs=1e-5)),
        (pytest.approx(backwards, abs=1e-5), 1.0),
    )


@pytest.mark.parametrize("batch_tokens", [1, 150, 10_000])
def test_the_budget_of_a_batch_changes_no_value(bleurt: BleurtProcess, batch_tokens: int) -> None:
    requests = [[*pair, *SENTENCES[: i % 4]] for i, pair in enumerate(random_pairs(12, seed=1))]
    expected = bleurt.similarities(requests)
    for scores, expected_scores in zip(
        bleurt.call("similarities", requests, {"batch_tokens": batch_tokens}), expected, strict=True
    ):
        for row, values in zip(scores.similarities, expected_scores.similarities, strict=True):
            assert row == pytest.approx(values, abs=1e-5)


@pytest.mark.parametrize("texts", list(permutations([LONG, LONGER, SHORT], 2)))
def test_long_pairs_are_cut_as_the_reference_cuts_them(bleurt: BleurtProcess, texts: tuple[str, str]) -> None:
    [scores] = bleurt.similarities([texts])
    assert scores.truncated_pairs == 2
    assert scores.flops == 2 * 2 * PARAMETERS * 512
    [expected] = bleurt.call("reference", [texts])
    assert scores.similarities[0][1] == pytest.approx(expected, abs=1e-5)


def test_only_pairs_over_the_limit_count_as_cut(bleurt: BleurtProcess) -> None:
    def numbers(n: int) -> str:
        return " ".join(["42"] * n)

    fits = next(n for n in range(600, 0, -1) if bleurt.call("tokens", [(numbers(n), SHORT)]) <= [512])
    texts = [numbers(fits), SHORT, numbers(fits + 1)]
    scored = bleurt.similarities([texts[:2], texts[1:], texts, [*texts, ""]])
    # The third and fourth: the longer with the short one, and the two long ones with each other.
    assert [scores.truncated_pairs for scores in scored] == [0, 2, 4, 4]


def test_pairs_are_charged_once_and_shared(bleurt: BleurtProcess) -> None:
    [with_second, with_third] = (2 * PARAMETERS * n for n in bleurt.call("tokens", [(FIRST, SECOND), (FIRST, THIRD)]))
    requests = [[FIRST, SECOND], [FIRST, SECOND, THIRD], [THIRD, ""], [FIRST, FIRST]]
    [alone, *_] = bleurt.similarities([[FIRST, SECOND]])
    assert alone.flops == 2 * with_second
    shared = [scores.flops for scores in bleurt.similarities(requests)]
    [third] = (2 * PARAMETERS * n for n in bleurt.call("tokens", [(SECOND, THIRD)]))
    [same] = (2 * PARAMETERS * n for n in bleurt.call("tokens", [(FIRST, FIRST)]))
    assert shared == [with_second, with_second + 2 * with_third + 2 * third, 0, same]


def test_equal_answers_are_compared_for_real(bleurt: BleurtProcess) -> None:
    [scores] = bleurt.similarities([[FIRST, FIRST]])
    [expected] = bleurt.call("reference", [(FIRST, FIRST)])
    assert scores.similarities[0][1] == scores.similarities[1][0] == pytest.approx(expected, abs=1e-5)
    assert scores.similarities[0][0] == 1.0


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.1), ("float16", 0.02)])
def test_dtype(bleurt: BleurtProcess, dtype: str, tolerance: float) -> None:
    [exact] = bleurt.similarities([SENTENCES])
    [scores] = bleurt.call("similarities", [SENTENCES], {"dtype": dtype})
    assert scores.similarities != exact.similarities
    for row, values in zip(scores.similarities, exact.similarities, strict=True):
        assert row == pytest.approx(values, abs=tolerance)


def test_many_texts_in_one_call(bleurt: BleurtProcess) -> None:
    texts = [" ".join(random.Random(i).choices(FIRST.split(), k=6)) for i in range(300)]
    requests = [texts[i : i + 3] for i in range(0, 300, 3)]
    assert [len(scores.similarities) for scores in bleurt.similarities(requests)] == [3] * 100


def test_a_folder_without_a_whole_model(bleurt: BleurtProcess, bleurt_checkpoint: Path, tmp_path: Path) -> None:
    assert "with a config.json, not" in bleurt.call("failure", str(tmp_path))
    (tmp_path / "config.json").write_bytes((bleurt_checkpoint / "config.json").read_bytes())
    assert "holds no model that bleurt-pytorch can load" in bleurt.call("failure", str(tmp_path))


def test_nothing_is_printed_or_logged(bleurt: BleurtProcess) -> None:
    bleurt.similarities([[LONG, LONGER]])
    assert bleurt.errors() == ""


def test_outside_of_its_environment(bleurt_checkpoint: Path) -> None:
    with pytest.raises(SignalError, match=r"bleurt cannot be loaded here \(.*\): it needs .* `make bleurt-env`"):
        build_signal(BleurtConfig(), bleurt_checkpoint)


def test_runtime_env() -> None:
    runtime_env = BleurtConfig(environment="/a place/bin/python").runtime_env()
    assert runtime_env == {"py_executable": "'/a place/bin/python'"}
    assert BleurtConfig().runtime_env()["pip"] == {"packages": list(PACKAGES)}
    with pytest.raises(ValidationError, match="write the path of a python executable"):
        BleurtConfig(environment="python3")


def test_a_checkpoint_is_read_as_bare_tensors(bleurt: BleurtProcess, bleurt_checkpoint: Path, tmp_path: Path) -> None:
    """The hub's checkpoints are pickles: good ones load, and hostile ones run nothing."""
    folder = shutil.copytree(bleurt_checkpoint, tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert bleurt.call("failure", str(folder)) == ""
    hostile(folder / "pytorch_model.bin", tmp_path / "marker")
    assert "holds no model that bleurt-pytorch can load" in bleurt.call("failure", str(folder))
    assert not (tmp_path / "marker").exists()
