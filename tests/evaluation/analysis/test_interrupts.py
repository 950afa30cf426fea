"""Ctrl-C while similarities are computed in several processes: a terminal sends it to all of them."""

import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

SCRIPT = """
import os, signal, sys

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == "serve_app.evaluation.analysis.similarities":
            try:
                os.close(os.open("pressed", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.killpg(0, signal.SIGINT)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from serve_app.evaluation.analysis.similarities import ALONE, measure
    from serve_app.signals import DEFAULT_SIGNALS

    try:
        measure({"exact": DEFAULT_SIGNALS["exact"]}, [["a", "b"]] * (ALONE + 1), 2)
    except KeyboardInterrupt:
        sys.exit(130)
else:
    sys.meta_path.insert(0, Hook())  # in the processes, whose first import of ours this is
"""


def test_ctrl_c_while_the_processes_start_prints_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        start_new_session=True,
    )
    assert (tmp_path / "pressed").exists()
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
