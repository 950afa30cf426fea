"""What the load test is made of; `locustfile.py` joins it to locust.

Of the server it imports only what needs Python alone: from `serve_app.common`, `core`, `errors` and `files`.
"""

import sys
from pathlib import Path

# A machine that only sends load has locust and this clone, and no server installed.
sys.path.append(str(Path(__file__).parents[2]))


class LoadError(Exception):
    """What the user must fix: an option, a file, or a server that is not ready. The message names it."""
