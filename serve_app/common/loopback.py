"""Which addresses are this machine's own. No proxy can reach them, though HTTP_PROXY would send requests there."""

from ipaddress import ip_address


def is_loopback(host: str | None) -> bool:
    """Return whether a URL's host is `localhost`, in 127.0.0.0/8 (also written as IPv6), or ::1."""
    if host is None or host == "localhost":
        return host is not None
    try:
        address = ip_address(host)
    except ValueError:  # a name
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
