"""What is hidden before anything of a cluster's is shown, and how much of a refusal is."""

import pytest

from serve_app.cluster.live.errors import Operation, redacted, refusal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("HF_TOKEN=hf_abcdefghij", "HF_TOKEN=(hidden)"),
        ("using hf_abcdefghij1 now", "using (hidden) now"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer (hidden)"),
        ("redis://user:pass@redis:6379", "redis://(hidden)@redis:6379"),
        ("GET /x?api_key=abc&page=2", "GET /x?api_key=(hidden)&page=2"),
        ("PASSWORD=abc done", "PASSWORD=(hidden) done"),
        ("http://10.0.0.1:8265 cannot be reached", "http://10.0.0.1:8265 cannot be reached"),
        ("16 tokens, sk-8 and a secret", "16 tokens, sk-8 and a secret"),
        ("\x1b[31mred\x1b[0m\nnext\tcolumn", "[31mred[0m\nnext\tcolumn"),
    ],
)
def test_tokens_and_control_characters(text: str, shown: str) -> None:
    assert redacted(text) == shown


LONG = "v" * 100_000
SHORTENED = " (shortened: kubectl shows all of it for the same file)."
CAUSE = {"field": "spec.a", "message": f"Invalid value: {LONG}: must be a number"}
SHORT_CAUSE = f"spec.a: Invalid value: {'v' * 127} ... {'v' * 132}: must be a number"


@pytest.mark.parametrize(
    ("status", "message", "causes", "sentence"),
    [
        (422, "", [CAUSE], f"A/b: {SHORT_CAUSE}{SHORTENED}"),
        (
            422,
            "",
            [{"field": f"f{i}", "message": "no"} for i in range(5)],
            "A/b: f0: no; f1: no; f2: no; f3: no; f4: no.",
        ),
        (
            422,
            "",
            [{"field": f"f{i}", "message": "no"} for i in range(7)],
            f"A/b: f0: no; f1: no; f2: no; f3: no; f4: no; and 2 more{SHORTENED}",
        ),
        (400, LONG, [], f"A/b: the cluster answers patch with HTTP 400: {'v' * 150} ... {'v' * 150}{SHORTENED}"),
        (403, LONG, [], f"You may not patch A/b as me: {'v' * 150} ... {'v' * 150}{SHORTENED}"),
        (403, f"exceeded quota: {LONG}", [], f"A/b: exceeded quota: {'v' * 134} ... {'v' * 150}{SHORTENED}"),
        (
            400,
            f'admission webhook "w" denied the request: {LONG}',
            [],
            f"A/b: the admission webhook w refuses it: {'v' * 150} ... {'v' * 150}{SHORTENED}",
        ),
        (400, "n" * 300, [], f"A/b: the cluster answers patch with HTTP 400: {'n' * 300}."),
    ],
)
def test_a_refusal_quotes_a_few_hundred_characters_and_keeps_the_reason(
    status: int, message: str, causes: list[dict[str, str]], sentence: str
) -> None:
    body = {"message": message, "details": {"causes": causes}}
    assert str(refusal(status, body, Operation("patch", "A/b"), "me")) == sentence
