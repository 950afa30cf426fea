"""Objects of Kubernetes' own kinds against the client's models: faults put into valid ones are found."""

from collections.abc import Callable
from copy import deepcopy

import pytest

from serve_app.cluster.check.builtin_models import builtin_faults
from serve_app.cluster.manifests import Manifest
from tests.cluster.overlays import rendered


def built_in(kind: str) -> Manifest:
    return deepcopy(next(body for body in rendered("paper-70b").objects if body["kind"] == kind))


@pytest.mark.parametrize(
    ("kind", "break_", "sentence"),
    [
        ("PodDisruptionBudget", lambda b: b["spec"].update(minavailable=1), "spec.minavailable: Extra inputs are not"),
        ("Job", lambda b: b["spec"].update(backoffLimit="many"), "spec.backoffLimit: "),
        ("Job", lambda b: b["spec"].pop("template"), "spec.template: Field required"),
        ("NetworkPolicy", lambda b: b["spec"].update(podselector={}), "spec.podselector: Extra inputs"),
        ("Ingress", lambda b: b["spec"].update(host="a"), "spec.host: Extra inputs"),
        (
            "PersistentVolumeClaim",
            lambda b: b["spec"]["resources"]["requests"].update(storage="10 GB"),
            "spec.resources.requests.storage: '10 GB' is not a quantity, such as 500m or 16Gi.",
        ),
    ],
)
def test_faults_in_built_in_kinds_are_found(kind: str, break_: Callable[[Manifest], object], sentence: str) -> None:
    body = built_in(kind)
    assert builtin_faults(body) == []
    break_(body)
    [fault] = builtin_faults(body)
    assert fault.startswith(sentence)


@pytest.mark.parametrize("amount", ["1Pi", "1e3", ".5", "1.", "100n", "+1G"])
def test_every_form_of_a_quantity_is_taken(amount: str) -> None:
    body = built_in("PersistentVolumeClaim")
    body["spec"]["resources"]["requests"]["storage"] = amount
    assert builtin_faults(body) == []
