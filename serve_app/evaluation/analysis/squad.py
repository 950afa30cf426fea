"""SQuAD 1.1's official evaluation of one answer against one reference (Rajpurkar et al., 2016), and our accuracy."""

import re
import string
from collections import Counter

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(text: str) -> str:
    """Lower case, without ASCII punctuation, without the articles a, an, the, words apart by one space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, reference: str) -> float:
    """1 if the two are equal once normalised, else 0."""
    return float(normalize(answer) == normalize(reference))


def f1(answer: str, reference: str) -> float:
    """F1 over the normalised words; 0 where nothing is left of either."""
    ours, theirs = normalize(answer).split(), normalize(reference).split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def accuracy(answer: str, reference: str) -> float:
    """1 if the normalised reference stands in the normalised answer, as whole words in a row; else 0.

    The paper does not define its accuracy; this is ours. Unlike exact match it lets a model say "It is Paris.", and it
    is fooled by an answer that names several candidates. A reference of which nothing is left is never found.
    """
    wanted = normalize(reference)
    return float(bool(wanted) and f" {wanted} " in f" {normalize(answer)} ")
