"""What the cluster that Ray is connected to has, held against what a config asks for."""

import logging

import ray

from serve_app.config import AppConfig
from serve_app.planning.feasibility import NodeGroup, fits
from serve_app.planning.plan import Plan, plan_of

logger = logging.getLogger("ray.serve")


def shortage(plan: Plan) -> str | None:
    """Why the nodes that are here cannot run the plan, with the sums; None if they may."""
    nodes = [NodeGroup(node["NodeManagerAddress"], node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return "; ".join(fits(plan, nodes).impossible) or None


def warn_of_shortage(args: AppConfig) -> None:
    """Say in the log what is missing: a cluster may grow, and the file's `deployments` may ask for less than `args`."""
    if ray.is_initialized() and (missing := shortage(plan_of(args))):
        logger.warning("Replicas wait until the cluster has more nodes: %s.", missing)
