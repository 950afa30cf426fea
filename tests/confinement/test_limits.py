"""A process for a text of somebody else's: the first to go if memory is short, and no longer there than its reader."""

import subprocess
import sys

from serve_app.confinement import limits
from tests.patience import PATIENCE_S

# Without the package around it, whose imports take a second.
PROGRAM = "import runpy, sys, time; own = runpy.run_path(sys.argv[1]); {}"


def command(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", PROGRAM.format(code), limits.__file__]


def test_it_is_ended_before_any_other_if_memory_is_short() -> None:
    code = "own['limit'](10); print(open('/proc/self/oom_score_adj').read())"
    assert subprocess.check_output(command(code), timeout=PATIENCE_S).strip() == b"1000"


def test_it_ends_with_the_process_that_reads_it() -> None:
    code = "own['end_with_reader'](); print(flush=True); time.sleep(600)"
    with subprocess.Popen(command(code), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            assert process.poll() is None
            process.stdout.close()  # as the kernel does for a process that was killed
            assert process.wait(timeout=PATIENCE_S) == 1
        finally:
            process.kill()
