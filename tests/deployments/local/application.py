"""A small application."""

ARGS = {
    "models": {name: {"engine": "replay", "default": "x"} for name in ("a", "b", "t")},
    "cascades": {
        "default": {"tiers": [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]}
    },
}
