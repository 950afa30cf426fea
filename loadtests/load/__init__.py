"""What the load test is made of; `locustfile.py` joins it to locust. Of the server only `serve_app.files` is needed."""

import sys
from pathlib import Path

# A machine that only sends load has locust and this clone, and no server installed. `files` needs Python alone.
sys.path.append(str(Path(__file__).parents[2]))


class LoadError(Exception):
    """What the user must fix: an option, a file, or a server that is not ready. The message names it."""
