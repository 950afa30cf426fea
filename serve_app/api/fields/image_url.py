"""URLs of images in requests. This server never fetches one: a client could make it ask hosts inside its network."""

import binascii
import re
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator

from serve_app.api.fields.body import Text

FORM = 'must hold the image in base64 ("data:image/png;base64,..."), or be an http(s) URL'
_DATA = re.compile(r"data:image/[a-z0-9][a-z0-9.+-]*;base64,")


def _check_url(url: str) -> str:
    if data := _DATA.match(url):
        try:
            empty = not binascii.a2b_base64(url[data.end() :].encode(), strict_mode=True)
        except (ValueError, UnicodeEncodeError):
            empty = True
        if not empty:
            return url
    elif _is_http(url):
        return url
    raise ValueError(FORM)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        return False


ImageUrl: TypeAlias = Annotated[Text, AfterValidator(_check_url)]
"""An image as a `data:` URL, or where it is."""
