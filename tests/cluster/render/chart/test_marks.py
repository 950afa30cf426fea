"""Objects with marks as the text of Helm templates."""

from typing import Any

import pytest

from serve_app.cluster.render.chart import marks


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", "a: plain"),
        ("{{ not ours }}", """a: '{{ "{{" }} not ours }}'"""),
        (marks.text("image.tag"), "a: {{ .Values.image.tag | quote }}"),
        (marks.integer("port"), "a: {{ .Values.port | int }}"),
        (marks.text("name"), 'a: {{ include "cascade.name" . | quote }}'),
        (marks.text("namespace"), "a: {{ .Release.Namespace | quote }}"),
        (f"{marks.text('name')}-x", 'a: {{ printf "%s-x" (include "cascade.name" .) | quote }}'),
        (f"{marks.text('host')}:6379", 'a: {{ printf "%s:6379" .Values.host | quote }}'),
        (f"5% {marks.text('host')}", 'a: {{ printf "5%% %s" .Values.host | quote }}'),
        (marks.text("groups.gpu-l4.tag"), 'a: {{ (index .Values "groups" "gpu-l4" "tag") | quote }}'),
        ([marks.text("mode")], "a:\n  - {{ .Values.mode | quote }}"),
        ([{"b": marks.text("b"), "c": 1}], "a:\n  - b: {{ .Values.b | quote }}\n    c: 1"),
        (marks.tree("all"), "a:\n  {{- toYaml .Values.all | nindent 2 }}"),
        ({"b": marks.tree("all")}, "a:\n  b:\n    {{- toYaml .Values.all | nindent 4 }}"),
        (marks.include("pod"), 'a:\n  {{- include "pod" . | nindent 2 }}'),
        (marks.file("f.yaml"), 'a: |\n  {{- .Files.Get "f.yaml" | trimSuffix "\\n" | nindent 2 }}'),
    ],
)
def test_a_mark_becomes_an_action(value: Any, line: str) -> None:
    assert marks.template([{"a": value}]) == f"{line}\n"


def test_a_key_is_left_out_with_all_below_it() -> None:
    body = {"a": {marks.key_if("tls", "tls"): [{"b": "first\n\nlast\n"}], "c": 1}, marks.key_if("d", "d"): 2}
    expected = """a:
  {{- if .Values.tls }}
  tls:
    - b: |
        first

        last
  {{- end }}
  c: 1
{{- if .Values.d }}
d: 2
{{- end }}
"""
    assert marks.template([body]) == expected


def test_a_key_is_left_out_only_for_null() -> None:
    expected = """a:
  {{- if not (kindIs "invalid" .Values.storage.class) }}
  b: {{ .Values.storage.class | quote }}
  {{- end }}
"""
    body = {"a": {marks.key_unless_null("storage.class", "b"): marks.text("storage.class")}}
    assert marks.template([body]) == expected


def test_the_end_of_a_document_ends_a_key() -> None:
    body = {"a": {marks.key_if("b", "b"): 1}}
    end = "  {{- end }}\n"
    document = "a:\n  {{- if .Values.b }}\n  b: 1\n"
    assert marks.template([body, body]) == f"{document}{end}---\n{document}{end}"
