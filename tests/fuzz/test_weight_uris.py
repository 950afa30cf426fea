"""Generated weight URIs: a source that stays in its place, or a sentence; nothing is fetched."""

import os
from pathlib import Path, PurePosixPath
from random import Random

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import HubSource, PypiSource, cached, parse_origins, parse_source, unpinned
from tests.fuzz.measures import refused, tally
from tests.fuzz.values import text

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CASCADE_TEST_URIS", "40000"))
URIS = (
    "hf://org/repo",
    "hf://org/repo@refs%2Fpr%2F3/a/b.gguf",
    "hf://org/repo@0123456789abcdef0123456789abcdef01234567/model.gguf",
    "pypi://a-b==1.0.post1/a/m.gguf",
    "pypi://x-part{9..11}==2/x{n}/part{n:02}.bin",
    "pypi://x=={0.2.9..0.2.11}/x/part{n-9:02}.bin",
    "models/a.gguf",
    "/models/folder",
)
PIECES = (
    *("/", "//", "..", "/../", "/..", "%2F..%2F", "%00", "@", "@@", "=", "==", "{", "}", "{n}", "{n:09}", "{n-9999}"),
    *("{1..9999}", "{0..0}", "{1..2}", "..", "0", "9" * 30, "hf://", "pypi://", "file:///etc/passwd", "https://x/y"),
    *("\\", "~", "$HOME", "\x00", "\n", " ", "\u202e", "é", "c:", "#", "?a=b", "[0-9]+", "a" * 300, "\ud83d"),
)
DIGESTS = (None, None, None, "0" * 64, "f" * 64, "F" * 64, "0" * 63, "", "sha256:" + "0" * 64, "é" * 64)


def uri(random: Random) -> str:
    """Return a valid URI with up to four changes."""
    text_ = random.choice(URIS)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        at, end = sorted((random.randrange(len(text_) + 1), random.randrange(len(text_) + 1)))
        piece = text(random) if random.random() < 0.1 else random.choice(PIECES)
        text_ = random.choice((text_[:at] + piece + text_[at:], text_[:at] + piece + text_[end:], text_[:at]))
    return text_


def paths_inside(source_uri: str) -> list[str]:
    """Return the paths in a repository or a wheel that a URI names."""
    match parse_source(source_uri):
        case HubSource(file=file):
            return [file] if file else []
        case PypiSource(parts=parts, file_name=name):
            return [name, *(part.member for part in parts)]
    return []


def test_every_uri_is_a_source_or_refused_with_a_sentence(tmp_path: Path) -> None:
    def check(number: int) -> str:
        random = Random(number)
        weights = uri(random) if random.random() < 0.9 else [uri(random) for _ in range(random.randint(0, 3))]
        sha256 = random.choice(DIGESTS)
        try:
            origins = parse_origins(weights, sha256)
            unpinned(weights, sha256)
            for origin in origins:
                for path in paths_inside(origin.uri):
                    assert not PurePosixPath(path).is_absolute()
                    assert ".." not in PurePosixPath(path).parts
            if number % 10 == 0:  # this one looks at the disk
                cached(weights, sha256, home=tmp_path)
        except WeightsError as error:
            return refused(error)
        return "parsed"

    ways = tally(COUNT, check)
    assert ways["parsed"] > COUNT / 10
    assert ways["refused"] > COUNT / 4
    assert list(tmp_path.iterdir()) == []
