from pathlib import Path

import pytest

from serve_app.core.types.prompt import Message
from serve_app.errors import DataError
from serve_app.evaluation.metrics.catalogue import METRICS
from serve_app.evaluation.records.tasks import TASKS, Prompts


@pytest.mark.parametrize(
    ("task", "inputs", "text"),
    [
        (
            "translation",
            {"source_lang": "de", "target_lang": "xx", "text": "Ja {nein}"},
            "Translate the text from German to xx. Write only the translation.\n\nText: Ja {nein}",
        ),
        (
            "summarization",
            {"document": "Long."},
            "Long.\n\nSummarize the text above in one to three sentences. Write only the summary.",
        ),
        (
            "reading_comprehension",
            {"context": "Paris is big.", "question": "What is big?"},
            "Paris is big.\n\nAnswer in a few words from the text above.\n\nQuestion: What is big?",
        ),
        (
            "closed_book_qa",
            {"question": "Who?"},
            "Answer the question in a few words, without explanation.\n\nQuestion: Who?",
        ),
        ("custom", {"prompt": "As it is: {x}"}, "As it is: {x}"),
    ],
)
def test_every_task_has_one_user_message(task: str, inputs: dict[str, str], text: str) -> None:
    assert Prompts().messages(task, inputs) == (Message("user", text),)


def test_custom_messages_are_asked_as_they_are() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert Prompts().messages("custom", {"messages": messages}) == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
    )


def test_every_task_has_metrics_of_ours() -> None:
    assert all(set(task.metrics) <= set(METRICS) and task.metrics for task in TASKS.values())


def test_the_users_prompts_stand_in_for_ours(tmp_path: Path) -> None:
    (tmp_path / "closed_book_qa.txt").write_text("Q: {question}\n{{json}}\n")
    prompts = Prompts(tmp_path)
    assert prompts.template("closed_book_qa") == "Q: {question}\n{{json}}"
    assert prompts.messages("closed_book_qa", {"question": "Who?"}) == (Message("user", "Q: Who?\n{json}"),)
    assert prompts.template("summarization") == Prompts().template("summarization")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{questoin} {question}", "there is no {questoin}. Did you mean 'question'? Available: question."),
        ("{question.x} {question}", "there is no {question.x}."),
        ("Answer!", "the prompt lacks {question}, so models would not see it."),
        ("{question", "expected '}' before end of string; write {{ or }} for a literal brace."),
        ("{question:d}", "write a name in braces without a format"),
        ("{} {question}", "there is no {}."),
    ],
)
def test_a_prompt_that_cannot_be_used(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "closed_book_qa.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        Prompts(tmp_path).template("closed_book_qa")
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_a_prompt_is_the_same_from_any_editor(tmp_path: Path) -> None:
    path = tmp_path / "closed_book_qa.txt"
    path.write_bytes("\ufeffAnswer.\r\n\r\nQ:\u2028{question}\x85\r\n".encode())
    assert Prompts(tmp_path).template("closed_book_qa") == "Answer.\n\nQ:\u2028{question}\x85"
    path.write_bytes(b"caf\xe9 {question}")
    with pytest.raises(DataError, match=r"closed_book_qa\.txt: not UTF-8 at byte 4\."):
        Prompts(tmp_path).template("closed_book_qa")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The folder of prompts '.*nowhere' does not exist"):
        Prompts(tmp_path / "nowhere").template("translation")
