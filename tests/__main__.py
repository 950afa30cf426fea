"""pytest, with its own exit code whatever Ray's threads do when the process ends: python -m tests."""

import pytest

from serve_app.cli.errors_and_exit import exit_process

if __name__ == "__main__":
    exit_process(int(pytest.main()))
