import pytest

from serve_app.common.loopback import is_loopback


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.0.1.1", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"]
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", [None, "", "0.0.0.0", "128.0.0.1", "::2", "::ffff:10.0.0.7", "127.0.0.1.nip.io", "localhost.example.com"]
)
def test_any_other(host: str | None) -> None:
    assert not is_loopback(host)
