"""Strings in JSON, which can hold halves of UTF-16's pairs, as whole characters."""

from serve_app.core.text.characters import whole


class Joiner:
    """Joins pairs that came apart over pieces of a text. A first half is held until the next piece, or the end."""

    def __init__(self) -> None:
        self._half = ""

    def join(self, piece: str, is_last: bool) -> str:
        """Return what can be shown now, in whole characters: U+FFFD replaces a half whose other half did not come."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" and not is_last else ""
        return whole(text.removesuffix(self._half))
