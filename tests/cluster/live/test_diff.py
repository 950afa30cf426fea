"""`cascade k8s diff`: what would change, and what an edit would or would not bring about."""

from typing import Any

from tests.cluster.api_stub import ApiStub
from tests.cluster.kubectl import CLAIM, CONFIG, JOB, NAMESPACE, SECRET, Body, User, ray_service


def changed(**spec: Any) -> Body:
    service = ray_service()
    return service | {"spec": service["spec"] | spec}


def test_only_what_would_change_is_shown_and_nothing_is_changed(user: User, stub: ApiStub) -> None:
    user.run("apply", user.write(CONFIG, JOB, ray_service()))
    edited = changed(serveConfigV2="applications:\n- name: cascade\n  route_prefix: /v2\n")
    before = len(stub.changes())
    ran = user.run("diff", user.write(CONFIG, JOB, edited))
    assert ran.code == 0, ran.err
    assert ran.lines[0] == "RayService/cascade would be changed"
    assert [line for line in ran.lines if line.startswith(("  +", "  -"))] == [
        "  -      route_prefix: /",
        "  +      route_prefix: /v2",
    ]
    assert "ConfigMap" not in ran.out
    assert len(stub.changes()) == before


def test_nothing_to_change(user: User) -> None:
    user.run("apply", user.write(CONFIG))
    assert user.run("diff", user.write(CONFIG)).out == "Nothing would change.\n"


def test_what_is_not_there_is_shown_whole(user: User) -> None:
    ran = user.run("diff", user.write(CONFIG))
    assert ran.lines[0] == "ConfigMap/settings would be created"
    assert "  +  level: info" in ran.lines


def test_what_would_lie_in_a_namespace_to_be_made_is_shown_as_written(user: User, stub: ApiStub) -> None:
    ran = user.run("diff", user.write(NAMESPACE, CONFIG), "--namespace", "fresh")
    assert ran.code == 0, ran.err
    assert [line for line in ran.lines if not line.startswith("  ")] == [
        "warning: namespace fresh does not exist yet, so objects in it were not tried.",
        "Namespace/fresh would be created",
        "ConfigMap/settings would be created",
    ]
    assert "  +  level: info" in ran.lines
    assert [request.path for request in stub.of("PATCH")] == ["/api/v1/namespaces/fresh"]


def test_a_secrets_values_are_never_shown(user: User) -> None:
    user.run("apply", user.write(SECRET | {"data": {"api": "aHVudGVyMg==", "other": "c2FtZQ=="}}))
    ran = user.run("diff", user.write(SECRET | {"data": {"api": "Y2hhbmdlZA==", "other": "c2FtZQ=="}}))
    assert "  -  api: (hidden, old value)" in ran.lines
    assert "  +  api: (hidden, new value)" in ran.lines
    assert "     other: (hidden)" in ran.lines
    for value in ("aHVudGVyMg==", "Y2hhbmdlZA==", "c2FtZQ=="):
        assert value not in ran.out + ran.err


def test_what_would_be_refused_is_said(user: User) -> None:
    user.run("apply", user.write(CLAIM))
    ran = user.run("diff", user.write(CLAIM | {"spec": {"storageClassName": "slow"}}))
    assert (ran.code, ran.out) == (1, "PersistentVolumeClaim/models would be refused\n")
    assert ran.err == (
        "cascade: PersistentVolumeClaim/models: spec.storageClassName: field is immutable. A claim can only grow, and "
        "only if its storage class allows it: for anything else, delete it with its data, or give the new one "
        "another name.\n"
    )


def test_a_second_cluster_is_announced_with_its_gpus(user: User) -> None:
    user.run("apply", user.write(ray_service()))
    ran = user.run("diff", user.write(ray_service(image="ray:2")))
    assert ran.lines[-1] == (
        "warning: RayService/cascade: rayClusterConfig changes, so a second cluster is built beside the first until it "
        "serves: for a while both need GPUs, 8 + 8 = 16, up to 24."
    )
