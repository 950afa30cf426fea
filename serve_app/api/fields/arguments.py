"""Arguments of calls in the history, as chat templates can read them."""

import json

INVALID_ARGUMENTS = "invalid_arguments"
"""The key under which models are shown arguments that are not a JSON object, such as those of a call that was cut."""


def readable_arguments(arguments: str) -> str:
    """Return a call's arguments as a JSON object: chat templates read nothing else.

    Without arguments it is an empty object; a text that is not an object is shown to the models inside one.
    """
    if not arguments.strip():
        return "{}"
    try:
        value = json.loads(arguments)
        # Other readers of JSON refuse infinities, NaN and halves of surrogate pairs.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        readable = isinstance(value, dict)
    except (ValueError, RecursionError):
        readable = False
    return arguments if readable else json.dumps({INVALID_ARGUMENTS: arguments}, ensure_ascii=False)
