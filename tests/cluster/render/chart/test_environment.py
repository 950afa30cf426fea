"""`make helm-env` with a pip that fails: it says so, and `make test` does not try again for the same pin."""

import os
import subprocess
from pathlib import Path

from tests.cluster.overlays import ROOT
from tests.cluster.render.chart.conftest import why_not

# A Python whose environments have a pip that fails if the pin cannot be had, and counts its runs.
PYTHON = """#!/bin/sh
for folder; do :; done
rm -rf "$folder" && mkdir -p "$folder/bin"
cat > "$folder/bin/python" << 'EOF'
#!/bin/sh
echo "$*" >> "$RUNS"
[ -e "$RUNS.index" ] || { echo "ERROR: first" >&2; echo "ERROR: no index" >&2; exit 1; }
EOF
chmod +x "$folder/bin/python"
"""


def test_a_failure_is_tried_once_and_names_its_reason(tmp_path: Path) -> None:
    python, runs = tmp_path / "python", tmp_path / "runs"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = tmp_path / "venv-helm"

    def make(target: str, *options: str) -> int:
        variables = [f"VENV={tmp_path / 'venv'}", f"PYTHON={python}"]
        return subprocess.run(
            ["make", "-s", *options, *variables, target],
            cwd=ROOT,
            env=os.environ | {"RUNS": str(runs)},
            capture_output=True,
            check=False,
        ).returncode

    stamp = f"{environment}/.tried"
    assert why_not(environment) == "needs Helm in .venv-helm: make helm-env"
    # As in `make test`, which goes on without Helm.
    assert [make(stamp), make(stamp)] == [0, 0]
    assert len(runs.read_text().splitlines()) == 1
    assert why_not(environment) == "pip found no Helm (ERROR: no index): make helm-env"
    # By name it is tried again, and fails; so it is for another pin.
    assert make("helm-env") != 0
    assert len(runs.read_text().splitlines()) == 2
    (tmp_path / "runs.index").touch()
    assert make(stamp, "--what-if=tests/cluster/helm-requirements.txt") == 0
    assert why_not(environment) is None
    assert [make("helm-env"), len(runs.read_text().splitlines())] == [0, 3]
