"""How Kubernetes lets objects be named."""

import re

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
LABEL_PATTERN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN_PATTERN = rf"{LABEL_PATTERN}(\.{LABEL_PATTERN})*"
WORD_PATTERN = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"


def is_label(text: str) -> bool:
    """Return whether namespaces, containers and volumes may be named so."""
    return len(text) <= LABEL_LENGTH and re.fullmatch(LABEL_PATTERN, text) is not None


def is_subdomain(text: str) -> bool:
    """Return whether most other objects may be named so, and hosts, too."""
    return len(text) <= SUBDOMAIN_LENGTH and re.fullmatch(SUBDOMAIN_PATTERN, text) is not None


def is_label_key(text: str) -> bool:
    """Return whether labels and annotations may be named so: a word, after a domain and a slash if it has any."""
    domain, slash, word = text.rpartition("/")
    return is_label_value(word) and bool(word) and (not slash or is_subdomain(domain))


def is_label_value(text: str) -> bool:
    """Return whether a label may have this value."""
    return not text or (len(text) <= LABEL_LENGTH and re.fullmatch(WORD_PATTERN, text) is not None)
