"""Real Helm, for the tests of charts: run by the Python of `.venv-helm` (make helm-env), a JSON request a line."""

import json
import sys
from typing import Any


def main() -> None:
    """Answer requests with `{"result": ...}`, or with the sentence of an error, until there are no more."""
    import helm_python as helm

    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        values = request["values"]
        try:
            if request["command"] == "lint":
                answer: dict[str, Any] = {"result": helm.lint(request["chart"], values, strict=True)["messages"]}
            else:
                with helm.Chart.load(request["chart"]) as chart:
                    chart.validate_schema(values)
                    answer = {"result": chart.render(values, name=request["release"], namespace=request["namespace"])}
        except helm.HelmError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
