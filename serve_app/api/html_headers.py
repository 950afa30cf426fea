"""The headers of everything that a browser shows of this server."""


def html_headers(sources: str) -> dict[str, str]:
    """Return headers by which a page loads nothing but from these sources of a content security policy."""
    return {
        "content-security-policy": (
            f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
    }
