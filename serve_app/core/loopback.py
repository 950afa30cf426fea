"""Which addresses are this machine's own. No proxy can reach them, though HTTP_PROXY would send requests there."""

from ipaddress import ip_address


def is_loopback(host: str | None) -> bool:
    """Return whether a URL's host is `localhost`, in 127.0.0.0/8, or ::1."""
    if host is None or host == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return False
