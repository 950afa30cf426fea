"""The published tables, as data to test against.

Source: D. Soiffer, S. Kolawole, V. Smith, "Training-Free Semantic Deferrals for Open-Ended LLM Cascades" (the workshop
version of arXiv 2509.21837): tables 1 and 6 to 27. Numbers are decimals, as printed.
"""

from decimal import Decimal

Table = dict[tuple[str, ...], dict[str, Decimal]]
"""The models of a row -> column -> number."""


def _table(columns: tuple[str, ...], rows: str) -> Table:
    table = {}
    for row in rows.strip().splitlines():
        models, numbers = row.split(" | ")
        table[tuple(models.strip().split(", "))] = dict(zip(columns, map(Decimal, numbers.split()), strict=True))
    return table


ENSEMBLE_COLUMNS = ("Chow-Sum", "Chow-Avg", "Best Chow-Quantile", "Best Quantile")
TOKEN_COLUMNS = ("Random", *ENSEMBLE_COLUMNS)
SIGNALS = ("BLEU", "ROUGE-1", "ROUGE-2", "ROUGE-L", "BLEURT", "SBERT")

TARGETS = {
    "WMT19 DE-FR": "Llama-3.1-8B",
    "WMT14 FR-EN": "Qwen2.5-7B",
    "WMT14 EN-FR": "Llama-3.1-8B",
    "CNN/DailyMail": "Llama-3.1-8B",
    "XLSum": "Llama-3.1-8B",
    "SQuAD1.1": "Qwen2.5-7B",
    "TriviaQA": "Llama-3.1-8B",
}
"""The model that all cascades of a task's tables defer to, from their captions."""

ILLUSTRATIVE = (
    ("WMT19 DE-FR", ("Qwen2.5-1.5B", "Gemma3-1B", "mT0 Large"), "Qwen2.5-1.5B", Decimal(".6548"), Decimal(".6397")),
    (
        "CNN/DailyMail",
        ("Qwen2.5-1.5B", "Qwen2.5-0.5B", "Gemma3-1B"),
        "Qwen2.5-1.5B",
        Decimal(".1262"),
        Decimal(".1265"),
    ),
    ("XLSum", ("Qwen2.5-1.5B", "Gemma3-1B", "Llama-3.2-1B"), "Llama-3.2-1B", Decimal(".0786"), Decimal(".0795")),
    ("SQuAD1.1", ("Qwen2.5-1.5B", "Gemma3-1B", "FLAN-T5 Large"), "Qwen2.5-3B", Decimal(".7685"), Decimal(".7592")),
    ("TriviaQA", ("Qwen2.5-1.5B", "Gemma3-1B", "Llama-3.2-1B"), "Llama-3.2-3B", Decimal(".5044"), Decimal(".6016")),
)
"""Table 1: task, semantic models, token-level model, best semantic AUC, best token-level AUC."""

BASELINES = _table(
    ("WMT19 DE-FR", "WMT14 FR-EN", "WMT14 EN-FR", "CNN/DailyMail", "XLSum", "SQuAD1.1", "TriviaQA"),
    """
    Qwen2.5-7B | .6552 .7409 .6555 .1222 .0787 .7820 .5075
    Qwen2.5-3B | .6109 .7298 .6293 .1188 .0630 .6920 .3940
    Qwen2.5-1.5B | .5708 .7233 .5998 .1033 .0628 .6967 .3022
    Qwen2.5-0.5B | .4026 .6831 .4835 .1016 .0478 .4653 .1069
    Llama-3.1-8B | .6778 .7400 .6817 .1443 .0897 .7427 .6407
    Llama-3.2-3B | .6168 .7270 .6480 .1377 .0787 .6887 .5019
    Llama-3.2-1B | .4549 .6694 .5652 .1329 .0671 .3747 .2280
    mT0 Large | .4467 .6636 .5120 .1325 .1060 .7767 .0608
    FLAN-T5 Large | .3963 .6883 .4534 .1915 .1597 .5973 .1449
    Gemma3-1B | .5670 .7090 .6234 .0862 .0472 .5247 .1982
    """,
)
"""Table 6: the quality of each model alone, by task."""

TOKEN_LEVEL = {
    "WMT19 DE-FR": _table(  # table 7
        TOKEN_COLUMNS,
        """
        Qwen2.5-3B | .6444 .6514 .6563 .6557 0.2
        Qwen2.5-1.5B | .6243 .6342 .6397 .6391 0.3
        Qwen2.5-0.5B | .5402 .5544 .5588 .5576 0.4
        Llama-3.2-3B | .6473 .6542 .6587 .6580 0.4
        Llama-3.2-1B | .5663 .5786 .5881 .5860 0.2
        mT0 Large | .5622 .5792 .5827 .5814 0.4
        FLAN-T5 Large | .5370 .5606 .5619 .5609 0.2
        Gemma3-1B | .6224 .6325 .6388 .6386 0.3
        """,
    ),
    "WMT14 FR-EN": _table(  # table 10
        TOKEN_COLUMNS,
        """
        Qwen2.5-3B | .7353 .7357 .7365 .7367 0.9
        Qwen2.5-1.5B | .7321 .7339 .7350 .7348 0.1
        Qwen2.5-0.5B | .7120 .7157 .7191 .7185 0.2
        Llama-3.2-3B | .7339 .7344 .7361 .7365 0.5
        Llama-3.2-1B | .7051 .7046 .7115 .7119 1.0
        mT0 Large | .7023 .7070 .7121 .7115 0.1
        FLAN-T5 Large | .7146 .7186 .7233 .7230 0.1
        Gemma3-1B | .7250 .7264 .7284 .7292 0.5
        """,
    ),
    "WMT14 EN-FR": _table(  # table 13
        TOKEN_COLUMNS,
        """
        Qwen2.5-3B | .6555 .6606 .6636 .6633 0.2
        Qwen2.5-1.5B | .6407 .6514 .6535 .6528 0.2
        Qwen2.5-0.5B | .5826 .5996 .6034 .6022 0.3
        Llama-3.2-3B | .6648 .6693 .6722 .6719 0.4
        Llama-3.2-1B | .6234 .6345 .6415 .6405 0.5
        mT0 Large | .5969 .6144 .6170 .6157 0.4
        FLAN-T5 Large | .5676 .5889 .5906 .5899 0.3
        Gemma3-1B | .6526 .6602 .6626 .6624 0.1
        """,
    ),
    "CNN/DailyMail": _table(  # table 16
        TOKEN_COLUMNS,
        """
        Qwen2.5-3B | .1315 .1325 .1322 .1326 0.3
        Qwen2.5-1.5B | .1238 .1255 .1259 .1265 0.6
        Qwen2.5-0.5B | .1230 .1234 .1262 .1270 0.6
        Llama-3.2-3B | .1410 .1422 .1418 .1420 0.4
        Llama-3.2-1B | .1386 .1408 .1406 .1409 0.1
        mT0 Large | .1384 .1408 .1420 .1423 0.2
        Gemma3-1B | .1152 .1143 .1140 .1146 0.8
        """,
    ),
    "XLSum": _table(  # table 19
        TOKEN_COLUMNS,
        """
        Qwen2.5-3B | .0763 .0767 .0765 .0777 0.0
        Qwen2.5-1.5B | .0762 .0773 .0775 .0780 0.4
        Qwen2.5-0.5B | .0687 .0688 .0689 .0692 0.4
        Llama-3.2-3B | .0842 .0844 .0843 .0854 0.0
        Llama-3.2-1B | .0784 .0781 .0782 .0795 0.0
        Gemma3-1B | .0684 .0695 .0692 .0701 0.6
        """,
    ),
    "SQuAD1.1": _table(  # table 22
        TOKEN_COLUMNS,
        """
        Qwen2.5-3B | .7370 .7583 .7592 .7584 0.1
        Qwen2.5-1.5B | .7393 .7616 .7574 .7580 0.0
        Qwen2.5-0.5B | .6237 .6650 .6603 .6590 0.2
        Llama-3.2-3B | .7353 .7534 .7558 .7572 0.1
        Llama-3.2-1B | .5783 .6154 .6269 .6251 0.3
        mT0 Large | .7793 .7935 .7949 .7961 0.1
        FLAN-T5 Large | .6897 .7330 .6671 .7183 0.0
        Gemma3-1B | .6533 .6711 .6669 .6695 0.0
        """,
    ),
    "TriviaQA": _table(  # table 25
        TOKEN_COLUMNS,
        """
        Qwen2.5-3B | .5174 .5624 .5600 .5603 0.1
        Qwen2.5-1.5B | .4715 .5113 .5099 .5096 0.1
        Llama-3.2-3B | .5713 .6016 .5991 .5998 0.1
        Llama-3.2-1B | .4344 .4589 .4544 .4545 0.1
        mT0 Large | .3504 .3540 .3528 .3560 0.2
        FLAN-T5 Large | .3928 .4146 .4093 .4149 0.0
        Gemma3-1B | .4194 .4448 .4441 .4435 0.1
        """,
    ),
}
"""Tables 7, 10, 13, 16, 19, 22 and 25: AUC of single models with token-level signals."""

TOKEN_LEVEL_ENSEMBLES = {
    "WMT19 DE-FR": _table(  # table 8
        ENSEMBLE_COLUMNS,
        """
        Gemma3-1B, Qwen2.5-1.5B | .6445 .6455 .6448 0.2
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B | .6330 .6315 .6328 0.2
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large | .6345 .6320 .6326 0.2
        Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large | .6297 .6247 .6247 0.1
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .6181 .6147 .6164 0.2
        """,
    ),
    "WMT14 FR-EN": _table(  # table 11
        ENSEMBLE_COLUMNS,
        """
        Gemma3-1B, Qwen2.5-1.5B | .7312 .7323 .7344 0.7
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B | .7247 .7259 .7265 0.0
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large | .7268 .7267 .7280 0.2
        Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large | .7305 .7311 .7312 0.2
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .7218 .7222 .7219 0.0
        """,
    ),
    "WMT14 EN-FR": _table(  # table 14
        ENSEMBLE_COLUMNS,
        """
        Gemma3-1B, Qwen2.5-1.5B | .6637 .6621 .6635 0.1
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B | .6621 .6600 .6614 0.1
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large | .6574 .6535 .6531 0.2
        Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large | .6486 .6467 .6458 0.1
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .6500 .6467 .6458 0.1
        """,
    ),
    "CNN/DailyMail": _table(  # table 17
        ENSEMBLE_COLUMNS,
        """
        Llama-3.2-1B, mT0 Large | .1454 .1423 .1447 0.1
        Llama-3.2-1B, Qwen2.5-1.5B | .1383 .1361 .1373 0.5
        Qwen2.5-1.5B, Gemma3-1B | .1239 .1226 .1251 0.8
        Llama-3.2-1B, mT0 Large, Qwen2.5-1.5B | .1428 .1392 .1415 0.2
        """,
    ),
    "XLSum": _table(  # table 20
        ENSEMBLE_COLUMNS,
        """
        Llama-3.2-1B, Qwen2.5-1.5B | .0783 .0781 .0786 0.0
        Llama-3.2-1B, Qwen2.5-1.5B, Gemma3-1B | .0745 .0761 .0767 1.0
        Llama-3.2-1B, Qwen2.5-0.5B, Gemma3-1B | .0721 .0730 .0735 0.1
        """,
    ),
    "SQuAD1.1": _table(  # table 23
        ENSEMBLE_COLUMNS,
        """
        mT0 Large, Qwen2.5-1.5B | .7881 .7852 .7851 0.0
        mT0 Large, Qwen2.5-1.5B, FLAN-T5 Large | .7520 .7787 .7775 0.0
        Qwen2.5-1.5B, FLAN-T5 Large, Gemma3-1B | .7090 .7229 .7348 0.0
        """,
    ),
    "TriviaQA": _table(  # table 26
        ENSEMBLE_COLUMNS,
        """
        Qwen2.5-1.5B, Llama-3.2-1B | .4996 .5031 .5008 0.1
        Llama-3.2-1B, Gemma3-1B | .4634 .4676 .4649 0.0
        Qwen2.5-1.5B, Llama-3.2-1B, Gemma3-1B | .4980 .4961 .4989 0.1
        Qwen2.5-1.5B, Llama-3.2-1B, FLAN-T5 Large | .4851 .4876 .4895 0.0
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .4630 .4529 .4708 0.0
        """,
    ),
}
"""Tables 8, 11, 14, 17, 20, 23 and 26: AUC of ensembles with token-level signals."""

SEMANTIC = {
    "WMT19 DE-FR": _table(  # table 9
        SIGNALS,
        """
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B | .6331 .6330 .6342 .6354 .6508 .6403
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large | .6357 .6381 .6375 .6387 .6548 .6418
        Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large | .6337 .6362 .6369 .6371 .6554 .6426
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .6167 .6203 .6192 .6207 .6368 .6272
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .6339 .6337 .6349 .6350 .6552 .6428
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large, FLAN-T5 Large | .6331 .6339 .6344 .6354 .6572 .6417
        """,
    ),
    "WMT14 FR-EN": _table(  # table 12
        SIGNALS,
        """
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B | .7322 .7325 .7317 .7323 .7350 .7339
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large | .7339 .7337 .7323 .7334 .7369 .7348
        Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large | .7343 .7344 .7336 .7345 .7380 .7356
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .7287 .7284 .7284 .7283 .7327 .7306
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .7325 .7328 .7318 .7328 .7359 .7337
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large, FLAN-T5 Large | .7330 .7337 .7323 .7335 .7375 .7346
        """,
    ),
    "WMT14 EN-FR": _table(  # table 15
        SIGNALS,
        """
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B | .6569 .6574 .6570 .6582 .6685 .6602
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large | .6571 .6579 .6569 .6589 .6707 .6618
        Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large | .6550 .6556 .6550 .6558 .6714 .6588
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .6454 .6466 .6464 .6473 .6605 .6499
        Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .6588 .6592 .6587 .6591 .6723 .6618
        Gemma3-1B, Qwen2.5-1.5B, mT0 Large, FLAN-T5 Large | .6541 .6548 .6537 .6556 .6719 .6593
        """,
    ),
    "CNN/DailyMail": _table(  # table 18
        SIGNALS,
        """
        Llama-3.2-1B, mT0 Large, Qwen2.5-1.5B | .1382 .1367 .1390 .1378 .1384 .1365
        Llama-3.2-1B, mT0 Large, Qwen2.5-0.5B | .1380 .1388 .1383 .1386 .1376 .1367
        Qwen2.5-1.5B, Qwen2.5-0.5B, Gemma3-1B | .1248 .1231 .1262 .1244 .1222 .1243
        """,
    ),
    "XLSum": _table(  # table 21
        SIGNALS,
        """
        Llama-3.2-1B, Qwen2.5-1.5B, Gemma3-1B | .0773 .0783 .0786 .0773 .0769 .0770
        Llama-3.2-1B, Qwen2.5-0.5B, Gemma3-1B | .0734 .0745 .0748 .0742 .0739 .0747
        Qwen2.5-1.5B, Qwen2.5-0.5B, Gemma3-1B | .0730 .0729 .0740 .0736 .0745 .0746
        """,
    ),
    "SQuAD1.1": _table(  # table 24
        SIGNALS,
        """
        mT0 Large, Qwen2.5-1.5B, FLAN-T5 Large | .7947 .7959 .7879 .7966 .7942 .7969
        mT0 Large, Qwen2.5-1.5B, FLAN-T5 Large, Llama-3.2-1B | .7852 .7927 .7913 .7944 .7847 .7872
        Qwen2.5-1.5B, FLAN-T5 Large, Gemma3-1B | .7654 .7678 .7569 .7685 .7678 .7682
        Qwen2.5-1.5B, FLAN-T5 Large, Llama-3.2-1B | .7589 .7622 .7526 .7624 .7606 .7635
        """,
    ),
    "TriviaQA": _table(  # table 27
        SIGNALS,
        """
        Qwen2.5-1.5B, Llama-3.2-1B, Gemma3-1B | .4993 .5043 .4803 .5044 .4957 .4887
        Qwen2.5-1.5B, Llama-3.2-1B, FLAN-T5 Large | .4911 .4966 .4782 .4966 .4838 .4824
        Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large | .4862 .4891 .4772 .4891 .4708 .4692
        Llama-3.2-1B, Gemma3-1B, FLAN-T5 Large | .4598 .4659 .4400 .4657 .4600 .4549
        Qwen2.5-1.5B, Llama-3.2-1B, Gemma3-1B, FLAN-T5 Large | .4970 .5014 .4781 .5011 .4950 .4870
        """,
    ),
}
"""Tables 9, 12, 15, 18, 21, 24 and 27: AUC of semantic cascades."""
