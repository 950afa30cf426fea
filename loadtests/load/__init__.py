"""What the load test is made of. Nothing here imports `serve_app` or locust; `locustfile.py` joins it to locust."""


class LoadError(Exception):
    """What the user must fix: an option, a file, or a server that is not ready. The message names it."""
