"""The official scores of question answering sets, of one answer against one reference, and our accuracy.

SQuAD 1.1: Rajpurkar et al., 2016. TriviaQA: Joshi et al., 2017. They differ in how texts are normalised.
"""

import re
import string
from collections import Counter

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_TRIVIAQA_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))  # noqa: RUF001
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation and articles (a, an, the), with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def normalize_triviaqa(text: str) -> str:
    """Return the text as TriviaQA's script has it: punctuation, curly quotes too, separates words instead of vanishing.

    SQuAD makes "jean-paul" one word "jeanpaul", TriviaQA two.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_TRIVIAQA_PUNCTUATION)).split())


def exact_match(answer: str, reference: str) -> float:
    """Return 1 if the two are equal once normalised, else 0."""
    return float(normalize(answer) == normalize(reference))


def f1(answer: str, reference: str) -> float:
    """Return F1 over the normalised words; 0 if either has no words left."""
    return _word_f1(normalize(answer), normalize(reference))


def triviaqa_em(answer: str, reference: str) -> float:
    """Return 1 if the two are equal in TriviaQA's normalisation, else 0."""
    return float(normalize_triviaqa(answer) == normalize_triviaqa(reference))


def triviaqa_f1(answer: str, reference: str) -> float:
    """Return F1 over the words of TriviaQA's normalisation; 0 if either has no words left."""
    return _word_f1(normalize_triviaqa(answer), normalize_triviaqa(reference))


def _word_f1(answer: str, reference: str) -> float:
    answer_words, reference_words = answer.split(), reference.split()
    common = sum((Counter(answer_words) & Counter(reference_words)).values())
    return 2 * common / (len(answer_words) + len(reference_words)) if common else 0.0


def accuracy(answer: str, reference: str) -> float:
    """Return 1 if the normalised answer contains the normalised reference as consecutive whole words, else 0.

    The paper does not define its accuracy; this is ours. Unlike exact match it lets a model say "It is Paris.", and it
    is fooled by an answer that names several candidates. A reference that normalises to nothing never matches.
    """
    expected = normalize(reference)
    return float(bool(expected) and f" {expected} " in f" {normalize(answer)} ")
