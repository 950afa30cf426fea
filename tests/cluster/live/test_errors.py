"""What is hidden before anything of a cluster's is shown."""

import pytest

from serve_app.cluster.live.errors import redacted


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
