"""How OpenAI's APIs stream."""

from typing import Literal

from serve_app.api.fields.body import Body


class StreamOptions(Body):
    """OpenAI's `stream_options`."""

    include_obfuscation: Literal[False] = False
