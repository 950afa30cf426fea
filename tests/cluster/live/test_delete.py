"""`cascade k8s delete`: says what goes, keeps the data, and ends when it is gone."""

from tests.cluster.api_stub import ApiStub
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
