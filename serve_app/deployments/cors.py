"""CORS: the pages in browsers that may use the API. Closed unless the config names their origins."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from serve_app.api.decision_headers import DECISION_HEADERS
from serve_app.config import CorsConfig

LIMITS = tuple(
    f"x-ratelimit-{quantity}-{unit}" for unit in ("requests", "tokens") for quantity in ("limit", "remaining", "reset")
)
EXPOSED = (*DECISION_HEADERS, *LIMITS, "x-request-id", "x-should-retry", "retry-after", "accept-encoding", "allow")
"""Headers of responses that scripts of an allowed page may read, beside those that every script may."""


def open_to(app: FastAPI, cors: CorsConfig) -> None:
    """Let pages of `cors.origins` use the app. Added last, it also covers errors and what the gate refuses."""
    # Every method and header passes the preflight: the API answers those that it does not take with its own error.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=cors.origins,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=cors.credentials,
        expose_headers=EXPOSED,
        max_age=cors.max_age_s,
    )
