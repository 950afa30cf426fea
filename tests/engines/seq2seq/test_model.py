"""Loading, vocabularies and chat templates."""

import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from serve_app.core.types.prompt import Message, Prompt
from serve_app.engines import Seq2SeqConfig, load_engine
from serve_app.errors import EngineError, WeightsError
from serve_app.torch_models import quiet
from tests.engines import tiny_seq2seq
from tests.engines.asking import chat, generate, idle, raw
from tests.engines.conftest import load_seq2seq
from tests.engines.seq2seq.prompts import PROMPTS
from tests.models.pickles import hostile

pytestmark = pytest.mark.asyncio(loop_scope="session")

MESSAGES = (Message("system", "The capital"), Message("user", "of France is"))


async def test_messages_follow_each_other(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    answer = await generate(engine, Prompt(messages=MESSAGES))
    assert (answer.text, answer.prompt_tokens) == ("It is Paris.", 6)
    await engine.close()


async def test_a_chat_template(tiny_t5: Path) -> None:
    """It brings its special tokens along."""
    template = "{% for m in messages %}{{ m.content }} {% endfor %}{{ eos_token }}"
    engine = await load_seq2seq(tiny_t5, chat_template=template)
    answer = await generate(engine, Prompt(messages=MESSAGES))
    assert (answer.text, answer.prompt_tokens) == ("It is Paris.", 6)
    assert (await generate(engine, raw(PROMPTS[0]))).prompt_tokens == 6
    await engine.close()


async def test_a_chat_template_that_refuses(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5, chat_template="{{ raise_exception('no system messages') }}")
    with pytest.raises(EngineError, match="could not take the messages: no system messages"):
        await generate(engine, chat("Hello"))
    assert (await idle(engine)).prompt_tokens == 0
    await engine.close()


async def test_text_without_utf8(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    assert (await generate(engine, raw("Hello \ud83d", max_tokens=2))).completion_tokens == 2
    await engine.close()


async def test_a_vocabulary_of_sentencepiece(tmp_path: Path) -> None:
    """As mT5's on the hub: no tokenizer.json."""
    model = T5ForConditionalGeneration(T5Config(vocab_size=60, **{**tiny_seq2seq.SIZES, "num_layers": 1}))
    with quiet():
        model.save_pretrained(tmp_path)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*PROMPTS[:4], *tiny_seq2seq.STORY.split("; ")]),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    engine = await load_seq2seq(tmp_path)
    answer = await generate(engine, raw("a dog who lived", max_tokens=8))
    assert answer.prompt_tokens == len(pieces.encode("a dog who lived")) + 1
    await engine.close()


async def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """mT5 has an output layer of its own, on which transformers remarks."""
    engine = await load_seq2seq(folder, context_tokens=128)
    await engine.close()
    assert capfd.readouterr() == ("", "")


async def test_an_output_layer_of_its_own(tmp_path: Path) -> None:
    """transformers 5 calls the T5 family tied in every config, and FLAN-T5 and mT0 are not."""
    weights = tiny_seq2seq.random_mt5(tmp_path)
    with quiet():
        model = MT5ForConditionalGeneration.from_pretrained(weights)
    assert not torch.equal(model.lm_head.weight, model.shared.weight)


async def test_what_cannot_be_loaded(tmp_path: Path, tiny_t5: Path) -> None:
    config = Seq2SeqConfig(engine="seq2seq", weights="x")
    with pytest.raises(EngineError, match="needs the local path"):
        await load_engine(config)
    with pytest.raises(EngineError, match=r"no folder of model files at '.*model.gguf'"):
        await load_engine(config, tmp_path / "model.gguf")
    with pytest.raises(EngineError, match="transformers could not load"):
        await load_engine(config, tmp_path)
    with pytest.raises(EngineError, match="transformers could not load"):
        await load_seq2seq(tiny_t5, device="gpu")
    with quiet():
        GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=10)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(EngineError, match="a model of type 'gpt2', which is not an encoder-decoder"):
        await load_engine(config, tmp_path / "gpt2")
    with pytest.raises(EngineError, match=r"context_tokens is 2048, but '.*' has only 128 positions"):
        await load_engine(config, tiny_seq2seq.random_bart(tmp_path / "bart"))


async def test_pickled_weights_need_trust(tiny_t5: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_t5, tmp_path / "pickled")
    weights = load_file(folder / "model.safetensors")
    torch.save({name: weights[name].clone() for name in weights}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"pytorch_model.bin is a pickle.* set weights_trust: code\.$"):
        await load_seq2seq(folder)
    engine = await load_seq2seq(folder, weights_trust="code")
    assert (await generate(engine, Prompt(messages=MESSAGES))).text == "It is Paris."
    await engine.close()


async def test_pickles_beside_safetensors_are_not_read(tiny_t5: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_t5, tmp_path / "both")
    hostile(folder / "pytorch_model.bin", tmp_path / "marker")
    engine = await load_seq2seq(folder)
    assert (await generate(engine, Prompt(messages=MESSAGES))).text == "It is Paris."
    assert not (tmp_path / "marker").exists()
    await engine.close()


@pytest.mark.parametrize("trust", ["data", "code"])
async def test_code_in_the_folder_runs_only_with_trust(tiny_t5: Path, tmp_path: Path, trust: str) -> None:
    folder, marker = shutil.copytree(tiny_t5, tmp_path / "code"), tmp_path / "marker"
    (folder / "own.py").write_text(
        f"from pathlib import Path\nfrom transformers import T5Config\nPath({str(marker)!r}).touch()\n"
        "class OwnConfig(T5Config): model_type = 'own'\n"
    )
    values = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(values | {"model_type": "own"}))
    with pytest.raises(WeightsError if trust == "data" else EngineError):  # no model goes with that config
        await load_seq2seq(folder, weights_trust=trust)
    assert marker.exists() == (trust == "code")
