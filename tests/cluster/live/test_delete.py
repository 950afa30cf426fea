"""`cascade k8s delete`: says what goes, keeps the data, and ends when it is gone."""

import pytest

from serve_app.cluster.live.client import Cluster
from serve_app.cluster.live.delete import Removal, delete
from serve_app.cluster.live.errors import UnreachableError
from serve_app.cluster.manifests import Ref
from tests.cluster.api_stub import ApiStub, overloaded, refusing
from tests.cluster.kubectl import CLAIM, CONFIG, NAMESPACE, User, ray_service

ALL = (ray_service(), CLAIM, CONFIG)


def test_data_and_namespace_stay(user: User, stub: ApiStub) -> None:
    user.run("apply", user.write(*ALL))
    stub.lingering = {"RayService": 1}
    demo = NAMESPACE | {"metadata": {"name": "demo"}}
    ran = user.run("delete", user.write(*ALL, demo), "--yes")
    assert ran.code == 0, ran.err
    assert ran.lines == [
        "RayService/cascade in demo: goes",
        "ConfigMap/settings in demo: goes",
        "PersistentVolumeClaim/models in demo: stays",
        "Namespace/demo: stays",
        "RayService/cascade is being deleted",
        "ConfigMap/settings is being deleted",
        "ConfigMap/settings is gone",
        "RayService/cascade is gone",
    ]
    assert list(stub.objects) == [
        "/api/v1/namespaces/demo",
        "/api/v1/namespaces/demo/persistentvolumeclaims/models",
    ]


def test_data_goes_when_told(user: User, stub: ApiStub) -> None:
    user.run("apply", user.write(CLAIM))
    ran = user.run("delete", user.write(CLAIM, CONFIG), "--yes", "--with-data")
    assert ran.lines == [
        "PersistentVolumeClaim/models in demo: goes",
        "ConfigMap/settings in demo: is absent",
        "PersistentVolumeClaim/models is being deleted",
        "PersistentVolumeClaim/models is gone",
    ]


def test_nobody_to_ask(user: User, stub: ApiStub) -> None:
    user.run("apply", user.write(CONFIG))
    ran = user.run("delete", user.write(CONFIG))
    assert (ran.code, ran.out) == (1, "ConfigMap/settings in demo: goes\n")
    assert ran.err == "cascade: Nothing was deleted: there is no terminal to confirm on; --yes confirms beforehand.\n"
    assert stub.of("DELETE") == []


def test_nothing_to_delete(user: User) -> None:
    ran = user.run("delete", user.write(CONFIG), "--yes")
    assert ran.lines == ["ConfigMap/settings in demo: is absent", "There is nothing to delete."]


def test_what_is_stuck_is_said_with_what_holds_it(user: User, stub: ApiStub) -> None:
    stub.put("ray.io/v1", "RayService", "cascade", metadata={"finalizers": ["ray.io/gcs-ft-redis-cleanup"]}, spec={})
    stub.lingering = {"RayService": 1000}
    ran = user.run("delete", user.write(ray_service()), "--yes", "--timeout-s", "0.5")
    assert ran.code == 1
    assert ran.err == "cascade: Not deleted after 0.5 s: RayService/cascade (held by ray.io/gcs-ft-redis-cleanup).\n"


def test_a_kind_that_is_gone_keeps_nothing_else(user: User, stub: ApiStub) -> None:
    """As when KubeRay was uninstalled before."""
    user.run("apply", user.write(CONFIG))
    stub.fail("GET", "/apis/ray.io/v1", refusing(404, "NotFound", "the server could not find the requested resource"))
    ran = user.run("delete", user.write(ray_service(), CONFIG), "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == [
        "ConfigMap/settings in demo: goes",
        "RayService/cascade: is absent",
        "ConfigMap/settings is being deleted",
        "ConfigMap/settings is gone",
    ]


@pytest.fixture
def removal(stub: ApiStub) -> Removal:
    """Plan to delete a ConfigMap that exists."""
    uid = stub.put("v1", "ConfigMap", "settings")["metadata"]["uid"]
    return Removal({Ref("v1", "ConfigMap", "settings", "demo"): uid}, (), ())


def test_an_api_server_that_is_away_meanwhile_is_waited_for(cluster: Cluster, stub: ApiStub, removal: Removal) -> None:
    stub.fail("GET", "/configmaps/", overloaded, times=4)
    lines: list[str] = []
    delete(cluster, removal, 60, lines.append)
    assert lines == ["ConfigMap/settings is being deleted", "ConfigMap/settings is gone"]
    assert stub.troubles == []


def test_an_api_server_that_stays_away_ends_it(cluster: Cluster, stub: ApiStub, removal: Removal) -> None:
    stub.fail("GET", "/configmaps/", overloaded, times=1000)
    with pytest.raises(UnreachableError, match="is in trouble"):
        delete(cluster, removal, 0, lambda line: None)
