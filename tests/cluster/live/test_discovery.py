"""Which requests it takes to find out what a server has, and what becomes of those that fail."""

import tempfile
from pathlib import Path

import pytest

from serve_app.cluster.live.client import Cluster
from serve_app.errors import ClusterError
from tests.cluster import api_stub
from tests.cluster.api_stub import ApiStub, overloaded
from tests.cluster.kubectl import CLAIM, CONFIG, JOB, SECRET, User, object_, ray_service

ALL = (ray_service(), JOB, CLAIM, CONFIG, SECRET)


def discovered(stub: ApiStub) -> list[str]:
    return [
        request.path
        for request in stub.requests
        if request.path in api_stub.KINDS or request.path in ("/apis", "/version")
    ]


def test_each_group_and_version_costs_one_request(user: User, stub: ApiStub) -> None:
    assert user.run("apply", user.write(*ALL)).code == 0
    assert discovered(stub) == ["/api/v1", "/apis/batch/v1", "/apis/ray.io/v1"]
    # Beside those: the namespace, and of each object its live state, the dry run and the apply.
    assert len(stub.requests) == 3 + 1 + 3 * len(ALL)


def test_nothing_is_left_in_a_file_that_others_can_write(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    assert user.run("apply", user.write(CONFIG)).code == 0
    assert list(shared.iterdir()) == []


def test_a_group_that_cannot_be_listed_is_not_one_without_kinds(user: User, stub: ApiStub) -> None:
    stub.fail("GET", "/apis/batch/v1", overloaded, times=4)
    ran = user.run("apply", user.write(JOB))
    assert ran.err == (
        "cascade: The API server of context 'lab' is in trouble: it answers discover batch/v1 with HTTP 503, four "
        "times in a row.\n"
    )


def test_a_group_that_fails_does_not_matter_to_manifests_of_others(user: User, stub: ApiStub) -> None:
    stub.fail("GET", "/apis/batch/v1", overloaded, times=100)
    assert user.run("apply", user.write(CONFIG)).code == 0


def test_a_kind_that_is_installed_meanwhile_is_found(
    cluster: Cluster, stub: ApiStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = object_("example.com/v1", "Widget", "w")
    with pytest.raises(ClusterError, match=r"The cluster does not know Widget \(example\.com/v1\)\."):
        cluster.namespaced(body)
    monkeypatch.setitem(api_stub.KINDS, "/apis/example.com/v1", {"gadgets": ("Gadget", True)})
    with pytest.raises(ClusterError, match="does not know Widget"):
        cluster.namespaced(body)
    monkeypatch.setitem(api_stub.KINDS, "/apis/example.com/v1", {"widgets": ("Widget", True)})
    assert cluster.namespaced(body)["metadata"] == {"name": "w", "namespace": "demo"}
