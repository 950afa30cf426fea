"""An environment for `bleurt`, made in seconds: this one's packages, with the few that must differ in front of them.

    python -m serve_app.signals.bleurt_environment .venv-bleurt        (make bleurt-env)

Ray, pydantic, torch and this project are those of the environment that runs this module, so that replicas in both are
compatible; only bleurt-pytorch, transformers 4 and the older versions that it needs are installed.
"""

import subprocess
import sys
import venv
from pathlib import Path

from filelock import FileLock

from serve_app.errors import SignalError
from serve_app.signals.bleurt import PACKAGES

_LINK = "_server.pth"


def make_environment(folder: Path) -> Path:
    """Make the environment in `folder` unless it is up to date; return its python.

    Raises `SignalError` if the folder is something else, or a package cannot be installed.
    """
    folder = folder.absolute()
    python = folder / "bin" / "python"
    stamp, description = folder / ".made", _description()
    if folder.exists() and not (folder / "pyvenv.cfg").is_file():
        raise SignalError(f"{str(folder)!r} exists but is not an environment; name a folder that does not exist.")
    with FileLock(f"{folder}.lock"):
        if stamp.is_file() and stamp.read_text() == description:
            return python
        venv.EnvBuilder(clear=True, symlinks=True).create(folder)
        _link(folder)
        _install(python)
        stamp.write_text(description)
    return python


def _description() -> str:
    """Return what the environment depends on: if it changes, the environment is made again."""
    return "\n".join([sys.version, sys.prefix, *PACKAGES])


def _link(folder: Path) -> None:
    """Put this environment's packages behind those of the new one."""
    behind = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    [site_packages] = (folder / "lib").glob("python*/site-packages")
    # Not the plain paths: what these link to (an editable install of this project) must be importable, too.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in behind]
    (site_packages / _LINK).write_text("".join(lines))


def _install(python: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    result = subprocess.run([*pip, "install", *PACKAGES], capture_output=True, text=True, check=False)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["pip gave no reason"]
        raise SignalError(f"The environment for bleurt could not be made; pip reported: {lines[-1]}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name the folder for the new environment, such as .venv-bleurt.")
    try:
        made_python = make_environment(Path(sys.argv[1]))
    except SignalError as failure:
        sys.exit(str(failure))
    sys.stdout.write(f"{made_python}\n")
