"""Types of the settings' fields: what Kubernetes takes as a name, a size, a host, or a variable."""

import re
from collections.abc import Iterator
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from serve_app.cluster.names import LABEL_LENGTH, SUBDOMAIN_LENGTH, is_label, is_label_key, is_label_value, is_subdomain
from serve_app.common.secrecy import holds_secret, names_secret

NAME_LENGTH = 47
"""Of a RayService; the operator adds to it for the names of clusters and services."""
NAME_PATTERN = r"[a-z]([a-z0-9-]*[a-z0-9])?"
SIZE_PATTERN = r"[1-9]\d*(Ki|Mi|Gi|Ti)"
_SECRET_HINT = (
    "put it in the Secret that api_keys_secret names, under this name, which pull_secret_env lists with its port"
)
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def _check_name(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > NAME_LENGTH:
        raise ValueError(f"must be up to {NAME_LENGTH} small letters, digits and '-', beginning with a letter")
    return name


def _check_namespace(name: str) -> str:
    if not is_label(name):
        raise ValueError(f"must be up to {LABEL_LENGTH} small letters, digits and '-', with no '-' at the ends")
    return name


def _check_object_name(name: str) -> str:
    if not is_subdomain(name):
        raise ValueError(f"must be up to {SUBDOMAIN_LENGTH} small letters, digits, '-' and '.'")
    return name


def _check_host(host: str) -> str:
    if not is_subdomain(host.removeprefix("*.")):
        raise ValueError("must be a host name in small letters without scheme and port, such as cascade.example.com")
    return host


def _check_address(address: str) -> str:
    port = int(address.rpartition(":")[2])
    if not 1 <= port <= 65535:
        raise ValueError(f"the port must be 1 to 65535, got {port}")
    return address


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and port_of(url) > 0
    except ValueError:
        is_url = False
    if not is_url:
        # Without the value, which may hold a password.
        raise ValueError("must be a URL such as http://prometheus.monitoring:9090")
    if holds_secret(url):
        raise ValueError("looks like a secret, which the manifests would show")
    return url


def _check_products(products: dict[str, list[str]]) -> dict[str, list[str]]:
    if wrong := [value for values in products.values() for value in values if not value or not is_label_value(value)]:
        raise ValueError(f"{wrong[0]!r} is not the value of a node label, such as NVIDIA-L4")
    return products


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not is_label_key(key) or not is_label_value(value):
            raise ValueError(f"{key}: {value!r} is not a label of Kubernetes, such as release: prometheus")
    return labels


def _check_size(size: str) -> str:
    if not re.fullmatch(SIZE_PATTERN, size):
        raise ValueError("must be a whole number with Ki, Mi, Gi or Ti, such as 16Gi")
    return size


def port_of(url: str) -> int:
    """Return the port of a URL, or its scheme's if it names none. Raises ValueError if it is not a URL."""
    parts = urlsplit(url)
    return parts.port or (80 if parts.scheme == "http" else 1080 if parts.scheme.startswith("socks") else 443)


def urls_of(name: str, value: str) -> Iterator[str]:
    """Yield the URLs in an environment variable: index options hold several, and a proxy may lack its scheme."""
    if "://" in value:
        yield from (word for word in value.split() if "://" in word and not word.startswith("file:"))
    elif value and name.lower().endswith("_proxy") and name.lower() != "no_proxy":
        yield f"http://{value}"


def _check_urls(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        try:
            list(map(port_of, urls_of(name, value)))
        except ValueError:
            # Without the value, which may hold a password.
            raise ValueError(
                f"{name}: a URL in it cannot be read; expected is one like http://proxy.example.com:3128"
            ) from None
        if names_secret(name) or holds_secret(value):
            raise ValueError(f"{name}: looks like a secret, which the manifests would show; {_SECRET_HINT}")
    return env


Name: TypeAlias = Annotated[str, AfterValidator(_check_name)]
Namespace: TypeAlias = Annotated[str, AfterValidator(_check_namespace)]
ObjectName: TypeAlias = Annotated[str, AfterValidator(_check_object_name)]
Size: TypeAlias = Annotated[str, AfterValidator(_check_size)]
Host: TypeAlias = Annotated[str, AfterValidator(_check_host)]
Url: TypeAlias = Annotated[str, AfterValidator(_check_url)]
Address: TypeAlias = Annotated[str, Field(pattern=r"^[^:/]+:\d+$"), AfterValidator(_check_address)]
Labels: TypeAlias = Annotated[dict[str, str], AfterValidator(_check_labels)]
Products: TypeAlias = Annotated[dict[str, list[str]], AfterValidator(_check_products)]
Variable: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
PlainVariables: TypeAlias = Annotated[dict[Variable, str], AfterValidator(_check_urls)]
"""Environment variables without secrets, whose URLs can be read."""


def bytes_of(size: str) -> int:
    """Return a size such as `16Gi` in bytes."""
    return int(size[:-2]) * UNITS[size[-2:]]
