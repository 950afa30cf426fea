"""MiniLM for the values; a tiny random BERT, made here, for a folder that sentence-transformers did not write."""

import json
import logging
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from serve_app.errors import SignalError, WeightsError
from serve_app.signals import SbertConfig, SbertSignal, Signal, build_signal, sbert
from serve_app.signals.sbert import cosines
from tests.models.pickles import hostile

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "dog", "ran", "."]
MINILM_PARAMETERS = 22_713_216


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model like the hub's bert-base-multilingual-cased: heads that an encoder ignores, no modules.json."""
    import torch
    from transformers import BertConfig, BertForPreTraining, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertForPreTraining(config).save_pretrained(folder)
    assert not (folder / "modules.json").exists()
    return folder


@pytest.fixture
def loud_logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture everything that the libraries log, including what they keep from the root logger."""
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    yield caplog
    for logger in loggers:
        logger.removeHandler(caplog.handler)


def test_a_plain_encoder_is_mean_pooled(tiny_bert: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["the cat sat on the mat.", "the dog ran.", "dog"]
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert).eval()
    with torch.inference_mode():
        means = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in texts]
    expected = [[float(torch.cosine_similarity(a, b, dim=0)) for b in means] for a in means]
    [scores] = build_signal(SbertConfig(), tiny_bert).similarities([texts])
    for row, expected_row in zip(scores.similarities, expected, strict=True):
        assert row == pytest.approx(expected_row, abs=1e-5)


def test_nothing_is_printed_or_logged(
    tiny_bert: Path, capfd: pytest.CaptureFixture[str], loud_logs: pytest.LogCaptureFixture
) -> None:
    signal = build_signal(SbertConfig(), tiny_bert)
    signal.similarities([["the cat", "the dog " * 100]])
    captured = capfd.readouterr()
    assert (captured.out, captured.err, loud_logs.text) == ("", "", "")


def test_loading_leaves_the_libraries_as_they_were(tiny_bert: Path) -> None:
    from transformers.utils.logging import is_progress_bar_enabled

    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    before = [is_progress_bar_enabled(), *(logger.level for logger in loggers)]
    build_signal(SbertConfig(), tiny_bert)
    assert [is_progress_bar_enabled(), *(logger.level for logger in loggers)] == before


def test_every_distinct_text_is_charged_once_and_shared(tiny_bert: Path) -> None:
    signal = build_signal(SbertConfig(), tiny_bert)
    cat, dog = "the cat", "the dog ran"  # 4 and 5 tokens with [CLS] and [SEP]
    [cat_scores] = signal.similarities([[cat]])
    unit = cat_scores.flops / 4
    assert [scores.flops / unit for scores in signal.similarities([[cat, cat], [dog], ["", " "]])] == [4, 5, 0]
    assert [scores.flops / unit for scores in signal.similarities([[cat, dog], [cat], [dog, dog]])] == [4.5, 2, 2.5]


def test_a_text_that_was_compared_before_is_neither_encoded_nor_charged_again(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = build_signal(SbertConfig(), tiny_bert)
    assert isinstance(signal, SbertSignal)
    cat, dog, mat = "the cat", "the dog ran", "the mat"  # 4, 5 and 4 tokens with [CLS] and [SEP]
    [full] = signal.similarities([[cat, dog, mat]])
    unit = full.flops / 13
    encoded: list[list[str]] = []
    encode = signal._encode
    monkeypatch.setattr(signal, "_encode", lambda texts: (encoded.append(list(texts)), encode(texts))[1])
    scores = [signal.similarities([texts], [since])[0] for texts, since in (([cat, dog], 0), ([cat, dog, mat, cat], 2))]
    assert encoded == [[cat, dog], [mat]]
    assert [score.flops / unit for score in scores] == [9, 4]
    assert scores[1].similarities[2][:2] == pytest.approx(full.similarities[2][:2], abs=1e-6)
    [nothing_new] = signal.similarities([[cat, dog, cat]], [2])
    assert (nothing_new.flops, nothing_new.similarities[2][0]) == (0, 1)


def test_a_vector_that_is_no_longer_remembered_is_made_and_charged_again(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sbert, "MOST_VECTORS", 1)
    signal = build_signal(SbertConfig(), tiny_bert)
    [first] = signal.similarities([["the cat", "the dog ran"]])
    [second] = signal.similarities([["the cat", "the dog ran", "the mat"]], [2])
    assert second.flops / first.flops == pytest.approx(8 / 9)  # the cat again, and the mat
    assert second.similarities[2][2] == 1


def test_tokens_past_the_models_limit_are_neither_read_nor_charged(tiny_bert: Path) -> None:
    signal = build_signal(SbertConfig(), tiny_bert)
    [short, long] = signal.similarities([["cat"], ["cat " * 500]])
    assert long.flops / short.flops == pytest.approx(32 / 3)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.05), ("float16", 0.01)])
def test_dtype(tiny_bert: Path, dtype: str, tolerance: float) -> None:
    texts = ["the cat sat on the mat.", "the dog ran."]
    config = SbertConfig.model_validate({"dtype": dtype, "device": "cpu"})
    [exact] = build_signal(SbertConfig(), tiny_bert).similarities([texts])
    [scores] = build_signal(config, tiny_bert).similarities([texts])
    assert scores.similarities[0] == pytest.approx(exact.similarities[0], abs=tolerance)


def test_numbers_that_are_not_finite_are_an_error(tiny_bert: Path) -> None:
    import torch

    signal = build_signal(SbertConfig(), tiny_bert)
    with torch.no_grad():
        signal._model[0].auto_model.embeddings.word_embeddings.weight.fill_(torch.nan)  # type: ignore[attr-defined]
    with pytest.raises(SignalError, match="not finite"):
        signal.similarities([["the cat"]])


def test_threads(tiny_bert: Path) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        build_signal(SbertConfig(threads=1), tiny_bert)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(SignalError, match="holds no model that sentence-transformers can load"):
        build_signal(SbertConfig(), tmp_path)


def test_calls_from_several_threads(tiny_bert: Path) -> None:
    signal = build_signal(SbertConfig(), tiny_bert)
    expected = signal.similarities([["the cat", "the dog"]])
    results: list[object] = []

    def work() -> None:
        results.extend(signal.similarities([["the cat", "the dog"]]) == expected for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40


def test_cosines_are_exact_to_float64_and_1_for_equal_texts() -> None:
    import torch

    draw = np.random.default_rng(0)
    for dimensions in (3, 384, 768):
        vectors = draw.standard_normal((40, dimensions)).astype(np.float32)
        unit = torch.nn.functional.normalize(torch.from_numpy(vectors).double(), dim=1)
        rows = [*range(40), 7, 7]
        matrix = np.array(cosines(unit[rows], rows))
        exact = vectors.astype(np.longdouble)
        exact /= np.sqrt((exact**2).sum(axis=1, keepdims=True))
        assert np.abs(matrix - (exact @ exact.T)[np.ix_(rows, rows)].astype(np.float64)).max() < 1e-14
        assert matrix[7, 40] == matrix[40, 41] == 1
        assert (np.diag(matrix) == 1).all()
        assert (matrix == matrix.T).all()


@pytest.mark.models
def test_equal_answers_agree_wholly(signal_named: Callable[[str], Signal], pairs: list[tuple[str, str]]) -> None:
    sample = [(text, second, text) for text, second in pairs[:40]]
    for (text, second, _), scores in zip(sample, signal_named("sbert").similarities(sample), strict=True):
        assert scores.similarities[0][2] == scores.similarities[2][0] == 1
        assert scores.similarities[0][1] == scores.similarities[2][1]
        assert text == second or scores.similarities[0][1] < 1


@pytest.mark.models
def test_known_cosines(signal_named: Callable[[str], Signal]) -> None:
    [scores] = signal_named("sbert").similarities([["Paris", "The capital of France is Paris.", "London"]])
    assert scores.similarities[0] == pytest.approx((1.0, 0.7253, 0.5787), abs=1e-3)
    # 3, 9 and 3 tokens, [CLS] and [SEP] included
    assert scores.flops == 2 * MINILM_PARAMETERS * 15


@pytest.mark.models
def test_equal_to_sentence_transformers_called_the_plain_way(
    signal_named: Callable[[str], Signal], minilm: Path, pairs: list[tuple[str, str]]
) -> None:
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(str(minilm), local_files_only=True)
    sample = pairs[:40]
    for texts, scores in zip(sample, signal_named("sbert").similarities(sample), strict=True):
        first, second = (model.encode(text, show_progress_bar=False) for text in texts)
        assert scores.similarities[0][1] == pytest.approx(float(util.cos_sim(first, second)), abs=1e-5), texts


def test_pickled_weights_and_code_need_trust(tiny_bert: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(tiny_bert, tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"pytorch_model.bin is a pickle.* set weights_trust: code\.$"):
        build_signal(SbertConfig(), folder)
    texts = [["the cat", "the dog ran"]]
    trusting = build_signal(SbertConfig(weights_trust="code"), folder)
    assert trusting.similarities(texts) == build_signal(SbertConfig(), tiny_bert).similarities(texts)


def test_pickles_beside_safetensors_are_not_read(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "both")
    hostile(folder / "pytorch_model.bin", tmp_path / "marker")
    build_signal(SbertConfig(), folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("trust", ["data", "code"])
def test_a_class_of_the_folder_is_imported_only_with_trust(tiny_bert: Path, tmp_path: Path, trust: str) -> None:
    folder, marker = shutil.copytree(tiny_bert, tmp_path / "foreign"), tmp_path / "marker"
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass Own: pass\n")
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "own.Own"}]))
    with pytest.raises(WeightsError if trust == "data" else Exception):  # the class is no module of torch's
        build_signal(SbertConfig.model_validate({"weights_trust": trust}), folder)
    assert marker.exists() == (trust == "code")


def test_embeddings_are_the_vectors_that_are_compared(tiny_bert: Path) -> None:
    signal = build_signal(SbertConfig(device="cpu", batch_size=2), tiny_bert)
    assert isinstance(signal, SbertSignal)
    texts = ["the cat sat.", "the dog ran.", "the cat sat.", "mat", "the cat " * 100]
    embeddings = signal.embed(texts)
    vectors = [struct.unpack("<16f", embedding.vector) for embedding in embeddings]
    [scores] = signal.similarities([texts])
    for row, vector in zip(scores.similarities, vectors, strict=True):
        assert [sum(a * b for a, b in zip(vector, column, strict=True)) for column in vectors] == pytest.approx(
            row, abs=1e-5
        )
    assert [embedding.tokens for embedding in embeddings] == [6, 6, 6, 3, 32]
    assert signal.embed([]) == []
