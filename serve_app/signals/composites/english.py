"""The English words by which texts are seen to contradict each other."""

from collections.abc import Mapping

NEGATION = frozenset(
    (
        "not", "no", "never", "none", "nor", "neither", "nobody", "nothing", "nowhere", "without", "cannot", "hardly",
        "barely",
    )
)  # fmt: skip
"""Beside all that ends in n't."""
NEGATIVE_PREFIXES: Mapping[str, int] = {"un": 4, "in": 5, "im": 5, "il": 5, "ir": 5, "dis": 5, "non": 4, "non-": 3}
"""With the length of the shortest word that one negates: "inside" is no negation of "side"."""
YES = frozenset(("yes", "yeah", "yep", "true", "correct"))
NO = frozenset(("no", "nope", "nah", "false", "incorrect"))
ANTONYMS = frozenset(
    {
        ("open", "closed"),
        ("opens", "closes"),
        ("opened", "closed"),
        ("true", "false"),
        ("right", "wrong"),
        ("right", "left"),
        ("correct", "wrong"),
        ("true", "wrong"),
        ("increase", "decrease"),
        ("increases", "decreases"),
        ("increased", "decreased"),
        ("increasing", "decreasing"),
        ("rise", "fall"),
        ("rises", "falls"),
        ("rose", "fell"),
        ("rising", "falling"),
        ("up", "down"),
        ("more", "less"),
        ("more", "fewer"),
        ("most", "least"),
        ("higher", "lower"),
        ("highest", "lowest"),
        ("high", "low"),
        ("larger", "smaller"),
        ("largest", "smallest"),
        ("large", "small"),
        ("big", "small"),
        ("longer", "shorter"),
        ("long", "short"),
        ("older", "younger"),
        ("old", "new"),
        ("old", "young"),
        ("faster", "slower"),
        ("fast", "slow"),
        ("hot", "cold"),
        ("warm", "cold"),
        ("before", "after"),
        ("first", "last"),
        ("earlier", "later"),
        ("early", "late"),
        ("north", "south"),
        ("northern", "southern"),
        ("east", "west"),
        ("eastern", "western"),
        ("above", "below"),
        ("inside", "outside"),
        ("male", "female"),
        ("man", "woman"),
        ("alive", "dead"),
        ("won", "lost"),
        ("wins", "loses"),
        ("win", "lose"),
        ("passed", "failed"),
        ("accepted", "rejected"),
        ("allowed", "forbidden"),
        ("allowed", "prohibited"),
        ("allow", "forbid"),
        ("always", "never"),
        ("all", "none"),
        ("good", "bad"),
        ("better", "worse"),
        ("best", "worst"),
        ("positive", "negative"),
        ("safe", "dangerous"),
        ("cheap", "expensive"),
        ("strong", "weak"),
        ("present", "absent"),
        ("on", "off"),
        ("odd", "even"),
        ("import", "export"),
        ("maximum", "minimum"),
    }
)
NUMBERS: Mapping[str, int] = {
    "zero": 0, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
"""Without "one", which is mostly a pronoun."""
COMMON = frozenset(
    (
        "a", "an", "the", "this", "that", "these", "those", "it", "its", "he", "she", "they", "we", "you", "i", "i'm",
        "it's", "he's", "she's", "there", "here", "what", "which", "who", "when", "where", "why", "how", "and", "or",
        "but", "so", "if", "in", "on", "at", "by", "for", "from", "of", "to", "with", "as", "yes", "no", "not", "some",
        "many", "most", "all", "each", "both", "none", "one", "his", "her", "their", "our", "my", "your", "answer",
        "option", "choice", "is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could",
        "will", "would", "should", "may", "might", "must", "final", "therefore", "thus", "hence", "however", "although",
        "because", "since", "while", "after", "before", "during",
    )
)  # fmt: skip
"""Words that are no names, though they may be capitalised."""
