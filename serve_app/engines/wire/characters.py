"""Strings in JSON, which can hold halves of UTF-16's pairs, as whole characters."""


def joined(text: str) -> str:
    """Join halves of surrogate pairs that came apart; halves without the other stay as they are."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def utf8(text: str) -> bytes:
    """Return the text's bytes; a half of a pair becomes a question mark."""
    return text.encode(errors="replace")


class Joiner:
    """Joins pairs that came apart over pieces of a text. A first half is held until the next piece, or the end."""

    def __init__(self) -> None:
        self._half = ""

    def join(self, piece: str, ended: bool) -> str:
        """Return what can be shown now: whole characters only, unless the text has `ended`."""
        text = joined(self._half + piece)
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" and not ended else ""
        return text.removesuffix(self._half)
