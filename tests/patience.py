"""How long a test waits for what must come: a ceiling, far above what a busy machine needs."""

PATIENCE_S = 300.0
"""Where all is well nothing waits as long.

Ray's workers have the lowest priority: beside other work one may take over a minute to start.
"""
