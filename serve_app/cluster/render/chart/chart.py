"""Render a serving config as a Helm chart.

Its templates are the objects of the kustomize base and overlay with values in place of settings, so a release with
default values has the same objects; but the namespace, which a release is installed into, is not part of a chart.
"""

import re
from collections import defaultdict
from pathlib import Path
from shlex import quote

from serve_app import __version__
from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render.chart import marks
from serve_app.cluster.render.chart.guide import guide
from serve_app.cluster.render.chart.marked import CONFIG_FILE, PULL_POD, marked_objects, pull_pod, with_options
from serve_app.cluster.render.chart.values import Value, values, values_schema, values_yaml
from serve_app.cluster.render.files import WRITTEN_BY, Rendered
from serve_app.cluster.render.objects import Objects, assemble, build, cautions
from serve_app.cluster.render.storage import models_digest
from serve_app.cluster.render.yaml_text import dumped
from serve_app.cluster.settings import Overlay, Settings

STATIC = Path(__file__).parent / "static"
KUBERNETES = ">=1.31.0-0"
"""The releases of Kubernetes that KubeRay 1.7 and the manifests need, and their vendors' builds."""
OPTIONAL = {"ingress": "ingress.enabled", "monitoring": "monitoring.enabled"}
"""Templates that a value switches on."""


def render(config: Path, overlay: Overlay, settings: Settings) -> Rendered:
    """Return the chart of a config. Raises ConfigError if it cannot run in a cluster."""
    plain = build(config, settings)
    options = with_options(settings)
    table = values(assemble(plain.file, options, plain.serve_config), options, chosen=settings)
    helpers, templates = _templates(
        marked_objects(plain.file, settings), models_digest(settings, plain.file.application.args)
    )
    text = "\n".join([helpers, *templates.values()])
    table = [value for value in table if _uses(text, value)]
    comment = f"{WRITTEN_BY} {quote(config.as_posix())} --overlay {overlay} --format helm`"
    files = {
        "Chart.yaml": _metadata(config, overlay, comment),
        "values.yaml": values_yaml(table, f"{comment}: put other values into a file of your own (helm -f)."),
        "values.schema.json": values_schema(table),
        "README.md": guide(config, overlay, table),
        CONFIG_FILE: plain.serve_config,
        "templates/NOTES.txt": (STATIC / "NOTES.txt").read_text(encoding="utf-8"),
        "templates/_helpers.tpl": helpers,
        **{f"templates/{name}.yaml": _with_comment(template, comment) for name, template in templates.items()},
    }
    folder = f"charts/{overlay}"
    return Rendered(
        files={f"{folder}/{name}": text for name, text in files.items()},
        folders=(f"{folder}/templates",),
        objects=plain.all(),
        groups=plain.groups,
        cautions=cautions(plain, settings),
    )


def _templates(objects: Objects, models: str) -> tuple[str, dict[str, str]]:
    """Return the text of the named templates, and those of the objects by their names."""
    helpers = (STATIC / "_helpers.tpl").read_text(encoding="utf-8")
    if pod := pull_pod(objects):
        helpers += _job_helpers(pod, models)
    files: dict[str, list[Manifest]] = defaultdict(list)
    for name, bodies in [*objects.common, *objects.own, ("rayservice", [objects.service])]:
        if name != "namespace":
            files[name] += bodies
    templates = {name: marks.template(bodies) for name, bodies in files.items()}
    for name, path in OPTIONAL.items():
        if name in templates:
            templates[name] = f"{{{{- if {marks.expression(path)} }}}}\n{templates[name]}{{{{- end }}}}\n"
    return helpers, templates


def _with_comment(template: str, comment: str) -> str:
    """Return a template that begins with a comment, which is not in what Helm renders of it."""
    return f"{{{{- /* {comment}. */ -}}}}\n{template}"


def _job_helpers(pod: Manifest, models: str) -> str:
    """Return the named templates of the Job's pod, and of the digest in its name, as `storage.job_digest` has it."""
    content = f"include {marks.quoted(PULL_POD)} . | fromYaml | toJson"
    return (
        f"\n{{{{- define {marks.quoted(PULL_POD)} -}}}}\n{marks.template([pod])}{{{{- end }}}}\n"
        "\n{{- /* A Job cannot be changed, so its name depends on its models and all that is in its pod. */}}\n"
        f'{{{{- define "cascade.job" -}}}}\n{{{{- printf "{models}%s" ({content}) | sha256sum | trunc 8 -}}}}\n'
        "{{- end }}\n"
    )


def _uses(templates: str, value: Value) -> bool:
    return re.search(rf"{re.escape(marks.expression(value.path))}(?![\w.])", templates) is not None


def _metadata(config: Path, overlay: Overlay, comment: str) -> str:
    chart = {
        "apiVersion": "v2",
        "name": "semantic-cascade",
        "description": f"An LLM cascade on Ray Serve: {config.name} for {overlay}.",
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": KUBERNETES,
    }
    return dumped([chart], f"{comment}.")
