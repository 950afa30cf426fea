"""cascadeflow's own confidence in a draft, from the query and the text (there are no log-probabilities).

Runs in the peer's environment. In: [{"query": ..., "answer": ...}, ...]; out: [confidence, ...].
"""

import json
import logging
import sys

from cascadeflow.quality.confidence import ProductionConfidenceEstimator


def main() -> None:
    logging.disable(logging.CRITICAL)
    estimator = ProductionConfidenceEstimator()
    results = []
    for example in json.load(sys.stdin):
        analysis = estimator.estimate(example["answer"], query=example["query"], temperature=0.0, finish_reason="stop")
        results.append(float(analysis.final_confidence))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
