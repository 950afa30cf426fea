"""What commands share: here, how their process ends."""

import subprocess
import sys

import pytest
import typer

from serve_app.cli.errors_and_exit import report_errors
from serve_app.errors import WeightsError
from tests.patience import PATIENCE_S

SCRIPT = """
import atexit, sys, threading, time
from serve_app.cli.errors_and_exit import exit_process
atexit.register(print, "registered")
threading.Thread(target=lambda: (time.sleep(0.2), print("joined"))).start()
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
sys.stderr.write("said")
{ray}
exit_process(3)
"""


@pytest.mark.parametrize("ray", ["", "import ray"])
def test_a_process_leaves_as_python_does(ray: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(ray=ray)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (result.returncode, result.stdout, result.stderr) == (3, "joined\nregistered\n", "said")


def test_an_error_does_not_repeat_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    @report_errors
    def command() -> None:
        raise WeightsError("https://me:hunter2@index/simple did not answer.")

    with pytest.raises(typer.Exit):
        command()
    assert capsys.readouterr().err == "cascade: https://(hidden)@index/simple did not answer.\n"
