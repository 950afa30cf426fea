r"""Turn objects with marks in them into text with Helm's template actions.

A mark is text that stands for a value of the chart in an object. Objects are built with marks in place of settings, so
each value goes wherever its setting goes, without a list of such places. Marks are between two characters of
Unicode's private use area.
"""

import re
from collections.abc import Iterable

from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render.yaml_text import dumped

_MARK = re.compile("\ue000(?P<kind>[a-z]+):(?P<path>[^\ue001]*)\ue001")
_LINE = re.compile(r"(?P<indent> *)(?P<head>(?:- )?(?:[^\s:]+: )?)(?P<scalar>.*)")
_CONDITIONS = {"if": "{}", "given": 'not (kindIs "invalid" {})'}
"""Go's conditions for a value, by the kinds of marks of keys; `invalid` is the kind of null."""
EXPRESSIONS = {
    "name": 'include "cascade.name" .',
    "namespace": ".Release.Namespace",
    "image": 'include "cascade.image" .',
    "job": 'include "cascade.job" .',
}
"""Go expressions that are no plain values; static/_helpers.tpl and the template of the Job define them."""
ALL_BUT_ONE = "all but one of "
"""What is before the path of a number to mean one less, but at least 1."""


def text(path: str) -> str:
    """Return a mark for a text, which may be a part of a longer text."""
    return _mark("text", path)


def integer(path: str) -> str:
    """Return a mark for a whole number."""
    return _mark("int", path)


def tree(path: str) -> str:
    """Return a mark for a list or a mapping, as the value of a key."""
    return _mark("yaml", path)


def file(path: str) -> str:
    """Return a mark for the text of a file of the chart, as the value of a key."""
    return _mark("file", path)


def include(name: str) -> str:
    """Return a mark for the YAML of a named template, as the value of a key."""
    return _mark("include", name)


def key_if(path: str, key: str) -> str:
    """Return a mark for a key that is left out, with all below it, if a value is empty."""
    return _mark("if", path) + key


def key_unless_null(path: str, key: str) -> str:
    """Return a mark for a key that is left out, with all below it, if a value is null; an empty text stays."""
    return _mark("given", path) + key


def expression(path: str) -> str:
    """Return the Go expression of a value, such as `.Values.image.tag`."""
    if path in EXPRESSIONS:
        return EXPRESSIONS[path]
    if path.startswith(ALL_BUT_ONE):
        return f"max 1 (sub {expression(path.removeprefix(ALL_BUT_ONE))} 1)"
    names = path.split(".")
    if all(re.fullmatch(r"[A-Za-z]\w*", name) for name in names):
        return f".Values.{path}"
    return f"(index .Values {' '.join(quoted(name) for name in names)})"


def template(objects: Iterable[Manifest]) -> str:
    """Return the objects as the text of a template."""
    escaped = dumped(objects).replace("{{", '{{ "{{" }}')
    lines: list[str] = []
    open_ifs: list[int] = []
    for line in escaped.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        while line and open_ifs and indent <= open_ifs[-1]:
            lines.append(f"{' ' * open_ifs.pop()}{{{{- end }}}}")
        mark = _MARK.match(line, indent)
        if mark and mark["kind"] in _CONDITIONS:
            condition = _CONDITIONS[mark["kind"]].format(expression(mark["path"]))
            lines.append(f"{line[:indent]}{{{{- if {condition} }}}}")
            line = line[:indent] + line[mark.end() :]
            open_ifs.append(indent)
        lines += _lines(line)
    lines += [f"{' ' * indent}{{{{- end }}}}" for indent in reversed(open_ifs)]
    return "".join(f"{line}\n" for line in lines)


def _lines(line: str) -> list[str]:
    """Return a line with actions in place of its marks: more than one line for what is not a scalar."""
    if not _MARK.search(line):
        return [line]
    parts = _LINE.fullmatch(line)
    assert parts, line
    start, scalar = parts["indent"] + parts["head"], parts["scalar"]
    whole = _MARK.fullmatch(scalar)
    if whole is None or whole["kind"] == "text":
        return [f"{start}{{{{ {_text(scalar)} | quote }}}}"]
    kind, path = whole["kind"], whole["path"]
    if kind == "int":
        return [f"{start}{{{{ {expression(path)} | int }}}}"]
    inner = len(parts["indent"]) + 2
    source = {
        "yaml": f"toYaml {expression(path)}",
        "include": f"include {quoted(path)} .",
        "file": f'.Files.Get {quoted(path)} | trimSuffix "\\n"',
    }[kind]
    block = " |" if kind == "file" else ""
    return [f"{start.rstrip()}{block}", f"{' ' * inner}{{{{- {source} | nindent {inner} }}}}"]


def _text(scalar: str) -> str:
    """Return the Go expression of a text with marks in it."""
    marks = list(_MARK.finditer(scalar))
    assert all(mark["kind"] == "text" for mark in marks), scalar
    if scalar == marks[0][0]:
        return expression(marks[0]["path"])
    values = [expression(mark["path"]) for mark in marks]
    arguments = [f"({value})" if " " in value and not value.startswith("(") else value for value in values]
    return f"printf {quoted(_MARK.sub('%s', scalar.replace('%', '%%')))} {' '.join(arguments)}"


def quoted(name: str) -> str:
    """Return a Go string literal of a text without quotes, backslashes and control characters."""
    assert re.fullmatch(r'[^"\\\x00-\x1f]*', name), name
    return f'"{name}"'


def _mark(kind: str, path: str) -> str:
    return f"\ue000{kind}:{path}\ue001"
