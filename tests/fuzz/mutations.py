"""Changes of a JSON value or its text: what a client, a user or a broken disk may send."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeAlias

from tests.fuzz.values import anything, text

Step: TypeAlias = str | int


def mutated(value: Any, random: Random) -> Any:
    """Change a few places of a value: other values, names that are gone, new, or other ones."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        value = _changed(value, random)
    return value


def _changed(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and value:
        name = random.choice(list(value))
        return random.choice(
            (
                lambda: value | {name: _changed(value[name], random)},
                lambda: value | {name: _changed(value[name], random)},
                lambda: {key: item for key, item in value.items() if key != name},
                lambda: value | {text(random): anything(random)},
                lambda: value | {name: anything(random)},
            )
        )()
    if isinstance(value, list) and value:
        index = random.randrange(len(value))
        replacement = random.choice((lambda: [_changed(value[index], random)], list, lambda: [value[index]] * 3))()
        return [*value[:index], *replacement, *value[index + 1 :]]
    return anything(random)


def damaged(body: bytes, random: Random) -> bytes:
    """Damage JSON's text: cut, changed bytes, a name twice, other encodings, nesting without end."""
    at = random.randrange(len(body) + 1)
    return random.choice(
        (
            lambda: body[:at],
            lambda: body[:at] + random.randbytes(random.randint(1, 4)) + body[at:],
            lambda: body[:at] + body[at + 1 :],
            lambda: body[:1] + b'"model": "t", ' + body[1:],
            lambda: b"\xef\xbb\xbf" + body,
            lambda: body.decode("utf-8", "replace").encode("utf-16"),
            lambda: body + b" " * 70_000,
            lambda: body[:at] + b"[" * random.choice((10, 200, 70_000)) + body[at:],
            lambda: body.replace(b"0", b"1" * 200),
            lambda: body.replace(b"}", b', "x": NaN}'),
            lambda: b"",
        )
    )()


def changed_anywhere(value: Any, random: Random, field: Callable[[], tuple[str, Any]]) -> Any:
    """Change one place of a value, each as likely as the other, however deep. `field` makes a name with its value."""
    return _with_change(value, random.choice(list(_places(value))), random, field)


def _places(value: Any, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from _places(item, (*path, step))


def _with_change(value: Any, path: tuple[Step, ...], random: Random, field: Callable[[], tuple[str, Any]]) -> Any:
    if path:
        copy = value.copy()
        copy[path[0]] = _with_change(value[path[0]], path[1:], random, field)
        return copy
    if isinstance(value, dict):
        name, item = field()
        subset = {key: value[key] for key in value if random.random() < 0.8}
        return random.choice((value | {name: item}, value | {name: item}, subset, anything(random)))
    if isinstance(value, list):
        return random.choice((value * 2, value[1:], [*value, anything(random)], anything(random)))
    return random.choice((anything(random), text(random), field()[1]))
