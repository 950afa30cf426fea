"""The sentence that matters of a long text: a message of Ray, the output of a process, a traceback."""

NO_REASON = "no reason was given"


def first_line(text: str) -> str:
    """Return the first line that is not blank."""
    return next(iter(text.strip().splitlines()), NO_REASON)


def last_sentence(text: str) -> str:
    """Return the exception's own message from the end of a traceback."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    messages = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    last = (messages or lines or [NO_REASON])[-1]
    kind, _, message = last.partition(": ")
    return (message if message and kind.endswith(("Error", "Exception")) else last).rstrip(".") + "."
