"""Ctrl-C, from the first import to the last step of the exit. Hooks send it at known places: nothing is timed."""

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from serve_app.cli.interrupts import is_interrupt
from serve_app.config.serve_file import SHIPPED
from tests.patience import PATIENCE_S

INTERRUPTED_IMPORT = """
import runpy, signal, sys

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            signal.raise_signal(signal.SIGINT)

_, module, *sys.argv[1:] = sys.argv
sys.meta_path.insert(0, Hook())
{before}
runpy.run_module("serve_app.cli", run_name="__main__", alter_sys=True)
"""


def run(script: str, arguments: Sequence[str] = ()) -> tuple[int, str, str]:
    """Return exit status, output and errors of a script, without any that this process was told to ignore."""
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("serve_app.cli.commands", "check configs/quickstart.yaml"),
        ("typer", "evaluate nowhere.jsonl"),
        ("yaml", "keys create me"),
        ("numpy", "calibrate nowhere.jsonl"),
        ("pydantic", "serve"),
        ("serve_app.cli.errors_and_exit", "--help"),
        ("serve_app.evaluation.evaluate.evaluate", "evaluate nowhere.jsonl"),
        ("serve_app.evaluation.collect.collect", "collect nowhere.yaml nowhere.jsonl -o none.jsonl"),
        ("serve_app.config.ray_rules", "serve"),
        ("httpx", "ask hello"),
        ("serve_app.cluster.manifests", "k8s check nowhere"),
    ],
)
def test_ctrl_c_during_an_import_ends_silently(module: str, command: str) -> None:
    script = INTERRUPTED_IMPORT.format(before="")
    assert run(script, [module, *command.split()]) == (130, "", "")


def test_a_command_that_ignores_ctrl_c_is_not_ended_by_it() -> None:
    """A shell starts commands in the background with SIGINT ignored."""
    script = INTERRUPTED_IMPORT.format(before="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    status, output, errors = run(script, ["numpy", "config"])
    assert (status, errors) == (0, "")
    assert output == SHIPPED["quickstart"].read_text()


COMMAND = """
import os, signal, sys, threading, time, types
import serve_app.cli.main as entry
from serve_app.cli import interrupts

def app():
    {body}

sys.modules["serve_app.cli.commands"] = types.SimpleNamespace(app=app)
entry.main()
"""


def test_a_second_ctrl_c_ends_a_process_that_waits_for_a_thread() -> None:
    body = """
    def press_again_and_hang():
        while signal.getsignal(signal.SIGINT) is not interrupts._end:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)

    threading.Thread(target=press_again_and_hang).start()
    sys.exit(130)
    """
    assert run(COMMAND.format(body=body)) == (130, "", "")


def test_ctrl_c_while_python_leaves_does_not_change_the_status() -> None:
    body = """
    class Late:
        def __del__(self, press=signal.raise_signal, number=signal.SIGINT):
            press(number)

    sys.late = Late()
    print("done")
    sys.exit(1)
    """
    assert run(COMMAND.format(body=body)) == (1, "done\n", "")


def test_an_error_that_ctrl_c_caused_is_an_interrupt() -> None:
    """As pybind11 reports Ctrl-C while a module of its initialises."""
    error = ImportError("initialization failed")
    assert not is_interrupt(error)
    error.__cause__ = KeyboardInterrupt()
    assert is_interrupt(error)
