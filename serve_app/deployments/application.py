"""The HTTP application of a router: the API, the page, and what stands before them."""

from fastapi import FastAPI

from serve_app.api.routes import build_api
from serve_app.api.service import Service
from serve_app.deployments.access.middleware import AccessMiddleware
from serve_app.deployments.cors import open_to
from serve_app.deployments.protecting.gate import GateMiddleware
from serve_app.deployments.protecting.host_check import HostCheckMiddleware
from serve_app.deployments.showing.check import ConfigChecker
from serve_app.deployments.showing.config import ConfigGraph
from serve_app.deployments.showing.evaluation import RecordsEvaluator
from serve_app.deployments.wiring import Parts
from serve_app.page.config import install_config
from serve_app.page.evaluation import install_evaluation
from serve_app.page.live import install_live
from serve_app.page.playground import install_playground
from serve_app.page.site import install_page


def build_application(service: Service, parts: Parts) -> FastAPI:
    """Return the application of a router; the last middleware that is added is the first that a request meets."""
    settings = parts.config.router
    app = build_api(service)
    app.add_middleware(AccessMiddleware, access=parts.access, instruments=parts.instruments)
    app.add_middleware(GateMiddleware, gate=parts.gate)
    app.add_middleware(HostCheckMiddleware, allowed=settings.allowed_hosts)
    if settings.cors is not None:
        open_to(app, settings.cors)
    if settings.page is not False:
        _install_page(app, parts)
    return app


def _install_page(app: FastAPI, parts: Parts) -> None:
    install_playground(app, parts.playground)
    install_live(app, parts.live_view)
    install_evaluation(app, RecordsEvaluator())
    install_config(app, ConfigGraph(parts.config, parts.policies, parts.readiness), ConfigChecker())
    install_page(app, everywhere=parts.config.router.page or parts.access.keys is not None)
