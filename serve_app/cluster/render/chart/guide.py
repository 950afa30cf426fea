"""Write the README of a chart."""

import json
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from serve_app.cluster.render.chart.values import Value
from serve_app.cluster.settings import Overlay

TEXT = """# An LLM cascade on Ray Serve

A Helm chart for KubeRay 1.7, written by `cascade k8s render {config} --overlay {overlay} --format helm` from the
same objects as the kustomize overlay `{overlay}`. It serves `files/serve.yaml`.

    kubectl create namespace cascade
    kubectl label namespace cascade pod-security.kubernetes.io/enforce=restricted
    helm install cascade . -n cascade -f my-values.yaml
    helm -n cascade get manifest cascade | cascade k8s wait -

The notes that `helm install` prints name the Secrets that the release reads; k8s/README.md of the project says how to
create them, how to build the image, and what each change costs. For what no value holds, such as another config, model
or kind of GPU, change the config or the settings, run the command above again, then `helm upgrade`. Keep values in a
file of your own, since rendering writes `values.yaml` again.

`helm uninstall` keeps the volume claim with the models. A release's fields belong to Helm: change them with
`helm upgrade`, not with `cascade k8s apply`; `cascade k8s status`, `wait` and `diff` read them from
`helm get manifest`. Releases with names of their own may share a namespace.

## Values

| value | default | |
| --- | --- | --- |
{rows}
"""


def guide(config: Path, overlay: Overlay, table: Iterable[Value]) -> str:
    """Return the README: how to install the chart, and a row for each value."""
    rows = (
        f"| `{value.path}` | `{_cell(json.dumps(value.default))}` | {_cell(value.description)} |" for value in table
    )
    return TEXT.format(config=quote(config.as_posix()), overlay=overlay, rows="\n".join(rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
