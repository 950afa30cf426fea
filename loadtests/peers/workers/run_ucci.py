"""UCCI's isotonic calibration of an uncertainty, and its threshold for a budget; the uncertainty is given.

Runs in the peer's environment. In: {"fit": {"u", "small", "large"}, "test": {"u"}, "c_small", "c_large", "budget"};
out: {"p_wrong": [...], "escalate": [...]}, of the test examples. The fit examples are cut in two halves, one to
calibrate and one to choose on, as its paper does.
"""

import json
import sys

import numpy as np
from ucci import InfeasibleTargetError, UCCIRouter


def main() -> None:
    request = json.load(sys.stdin)
    u, small, large = (np.array(request["fit"][name]) for name in ("u", "small", "large"))
    half = np.arange(len(u)) % 2 == 0
    router = UCCIRouter(request["c_small"], request["c_large"], cost_model="sequential")
    router.calibrate(u[half], 1 - small[half])
    test = np.array(request["test"]["u"])
    try:
        router.choose_threshold_for_budget(u[~half], small[~half], large[~half], request["budget"])
        escalated = [bool(value) for value in np.asarray(router.escalate(test))]
    except InfeasibleTargetError:
        escalated = None
    p_wrong = [float(value) for value in np.asarray(router.error_probability(test))]
    json.dump({"p_wrong": p_wrong, "escalate": escalated}, sys.stdout)


if __name__ == "__main__":
    main()
