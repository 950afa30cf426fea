"""The paper's test sets from the `datasets` library, by name: `hf-datasets:triviaqa`.

The split is the paper's (appendix A): validation if the set has one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.errors import DataError, UsageError, choices
from serve_app.evaluation.records.example import Example

Row = Mapping[str, Any]
Fields = tuple[dict[str, Any], list[str]]
"""An example's prompt_inputs and references."""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """`load` are the arguments of `datasets.load_dataset`; `key` is the field with a row's id, None for its number."""

    task: str
    load: dict[str, Any]
    fields: Callable[[Row], Fields]
    key: str | None = None


def _translation(source: str, target: str) -> Callable[[Row], Fields]:
    def fields(row: Row) -> Fields:
        pair = row["translation"]
        return {"source_lang": source, "target_lang": target, "text": pair[source]}, [pair[target]]

    return fields


PUBLIC_SETS = {
    "wmt19_de_fr": PublicSet(
        "translation", {"path": "wmt/wmt19", "name": "fr-de", "split": "validation"}, _translation("de", "fr")
    ),
    "wmt14_fr_en": PublicSet(
        "translation", {"path": "wmt/wmt14", "name": "fr-en", "split": "validation"}, _translation("fr", "en")
    ),
    "wmt14_en_fr": PublicSet(
        "translation", {"path": "wmt/wmt14", "name": "fr-en", "split": "validation"}, _translation("en", "fr")
    ),
    "cnn_dailymail": PublicSet(
        "summarization",
        {"path": "abisee/cnn_dailymail", "name": "3.0.0", "split": "validation"},
        lambda row: ({"document": row["article"]}, [row["highlights"]]),
        "id",
    ),
    "xlsum": PublicSet(
        "summarization",
        # The set is a loading script, which `datasets` no longer runs; this is the hub's conversion of it.
        {
            "path": "csebuetnlp/xlsum",
            "revision": "refs/convert/parquet",
            "data_files": {"validation": "english/validation/*.parquet"},
            "split": "validation",
        },
        lambda row: ({"document": row["text"]}, [row["summary"]]),
        "id",
    ),
    "squad": PublicSet(
        "reading_comprehension",
        {"path": "rajpurkar/squad", "name": "plain_text", "split": "validation"},
        lambda row: (
            {"context": row["context"], "question": row["question"]},
            list(dict.fromkeys(row["answers"]["text"])),
        ),
        "id",
    ),
    "triviaqa": PublicSet(
        "closed_book_qa",
        {"path": "mandarjoshi/trivia_qa", "name": "rc.nocontext", "split": "validation"},
        lambda row: (
            {"question": row["question"]},
            list(dict.fromkeys([row["answer"]["value"], *row["answer"]["aliases"]])),
        ),
        "question_id",
    ),
}


def load_public(name: str) -> list[Example]:
    """Return every example of a public set, downloaded once.

    Raises `UsageError` if the name is unknown, `DataError` if the library is missing, or the set cannot be downloaded.
    """
    if name not in PUBLIC_SETS:
        raise UsageError(f"There is no public set {name!r}. {choices(name, PUBLIC_SETS)}")
    try:
        import datasets
    except ImportError:
        raise DataError(
            "Public sets come through the datasets library: pip install 'semantic-cascade[datasets]'."
        ) from None
    load = PUBLIC_SETS[name].load
    try:
        rows = datasets.load_dataset(**load)
    except Exception as error:  # the hub, the file system and the parser raise many kinds
        line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"The public set {name!r} ({load['path']} on the hub) cannot be loaded: {line}.") from error
    return list(public_examples(name, rows))


def public_examples(name: str, rows: Iterable[Row]) -> Iterator[Example]:
    """Yield the rows of a public set as examples with ids of their own.

    A row that repeats an earlier one is left out: TriviaQA has a question once for each kind of evidence, which the
    closed-book task does not show. An id that comes again with another question gets a number: ID-2.
    """
    public = PUBLIC_SETS[name]
    inputs_by_id: dict[str, list[Mapping[str, Any]]] = {}
    for number, row in enumerate(rows):
        inputs, references = public.fields(row)
        key = str(number if public.key is None else row[public.key])
        earlier = inputs_by_id.setdefault(key, [])
        if inputs in earlier:
            continue
        earlier.append(inputs)
        id_ = key if len(earlier) == 1 else f"{key}-{len(earlier)}"
        yield Example(f"{name}-{id_}", public.task, f"{name} {public.load['split']}, {id_}", inputs, tuple(references))
