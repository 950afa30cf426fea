"""Prompts in a file: JSON Lines of `{"prompt": "..."}`, or a text file with a prompt a line."""

from pathlib import Path

from serve_app.errors import DataError
from serve_app.files.json_lines import Object, read_json_lines
from serve_app.files.text import Line, read_lines


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file: JSON Lines if it is named `.jsonl` or `.jsonl.gz`, else one a line.

    Other fields than `prompt` are ignored. Raises DataError if the file or a line cannot be used, or has no prompts.
    """
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        with read_json_lines(path) as items:
            prompts = [_prompt(line, body) for line, body in items]
    else:
        with read_lines(path) as lines:
            prompts = [line.text.strip() for line in lines]
    if not prompts:
        raise DataError(f"{path}: there are no prompts in it.")
    return prompts


def _prompt(line: Line, body: Object) -> str:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f'{line.where}: prompt: must be a text, such as {{"prompt": "What is a prime number?"}}.')
    return prompt
