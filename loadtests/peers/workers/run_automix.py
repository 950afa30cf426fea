"""AutoMix's meta-verifier over a given confidence: trained on the fit examples, it routes the test examples.

Runs in the peer's environment. In: {"fit": {"verifier", "small", "large"}, "test": {...}, "c_small", "c_large",
"budget"}; out: [whether to ask the large model, ...] of the test examples. Its POMDP is the union of its four methods.
"""

import json
import sys

import pandas as pd
from automix import POMDP, Automix

BINS = 8


def main() -> None:
    request = json.load(sys.stdin)
    # Its greedy method reads these columns by their names, whatever it is told.
    fit, test = (
        pd.DataFrame(
            {
                "p_ver_13b": [min(1.0, max(0.0, value)) for value in request[part]["verifier"]],
                "llama13b_f1": request[part]["small"],
                "llama70b_f1": request[part]["large"],
            }
        )
        for part in ("fit", "test")
    )
    fit["category"] = [
        "NEEDY" if large > small else "GOOD" if small > 0.5 else "HOPELESS"
        for small, large in zip(fit["llama13b_f1"], fit["llama70b_f1"], strict=True)
    ]
    router = Automix(POMDP(num_bins=BINS), costs=[request["c_small"], request["c_large"]], verifier_cost=0)
    router.train(fit, cost_constraint=[0.0, request["budget"]])
    json.dump([bool(value) for value in test.apply(router.infer, axis=1)], sys.stdout)


if __name__ == "__main__":
    main()
