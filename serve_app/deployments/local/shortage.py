"""What the cluster that Ray is connected to lacks for a plan."""

import ray

from serve_app.planning.feasibility import NodeGroup, fits
from serve_app.planning.plan import Plan


def shortage(plan: Plan) -> str | None:
    """Return why the nodes of the cluster cannot run the plan, with the sums, or None if they can."""
    nodes = [NodeGroup(node["NodeManagerAddress"], node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return "; ".join(fits(plan, nodes).impossible) or None
