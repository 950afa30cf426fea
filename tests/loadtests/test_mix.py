from collections import Counter

import pytest

from loadtests.load import LoadError
from loadtests.load.mix import Mix, read_weights
from loadtests.load.options import PROMPTS
from serve_app.files.prompts import read_prompts


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("default", {"default": 1.0}),
        ("default:3, qwen-1.5b:0.5", {"default": 3.0, "qwen-1.5b": 0.5}),
        ("org/model:latest", {"org/model:latest": 1.0}),
        ("org/model:latest:2", {"org/model:latest": 2.0}),
    ],
)
def test_weights(text, weights):
    assert read_weights(text) == weights


@pytest.mark.parametrize("text", ["", " , ", "a:0", "a:-1", "a,a:2"])
def test_weights_that_are_none(text):
    with pytest.raises(LoadError, match=r"--models: .*such as default"):
        read_weights(text)


def test_a_request_depends_on_its_number_and_the_seed_alone():
    mix = Mix(["one", "two", "three"], {"default": 3, "t": 1}, 0.25, 16, seed=5)
    asks = [mix.ask(number) for number in range(4000)]
    assert asks[:4] == [mix.ask(0), mix.ask(1), mix.ask(2), mix.ask(3)]
    assert [ask.prompt for ask in asks[:4]] == ["one", "two", "three", "one"]
    assert Counter(ask.model for ask in asks)["t"] == pytest.approx(1000, rel=0.1)
    assert sum(ask.stream for ask in asks) == pytest.approx(1000, rel=0.1)
    # Another set of models leaves the streams where they are: two runs on one trace can be compared.
    alone = Mix(["one", "two", "three"], {"t": 1}, 0.25, 16, seed=5)
    assert [alone.ask(number).stream for number in range(100)] == [ask.stream for ask in asks[:100]]
    assert (mix.ask(0).max_tokens, mix.ask(0, 99).max_tokens) == (16, 99)


def test_the_default_prompts_are_all_different():
    prompts = read_prompts(PROMPTS)
    assert len(prompts) == len(set(prompts)) == 110
