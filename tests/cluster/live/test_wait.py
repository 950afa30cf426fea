"""`cascade k8s wait`: done when truly done, and no sooner; stopped with the reason when it never will be."""

import signal
from unittest.mock import patch

import pytest

from tests.cluster.api_stub import ApiStub, Step, disconnect, gone, now, overloaded, refusing
from tests.cluster.kubectl import CLAIM, JOB, PROMPT, Body, Ran, User, ray_service, service_status, waiting, worker
from tests.patience import PATIENCE_S

LONG_AGO = "2026-01-01T00:00:00Z"


def play(user: User, *steps: Step, options: tuple[str, ...] = ()) -> Ran:
    """Run `wait` while the RayService goes through the steps."""
    user.stub.put("ray.io/v1", "RayService", "cascade", spec=ray_service()["spec"])
    user.stub.script["RayService"] = list(steps)
    return user.run("wait", user.write(ray_service()), *PROMPT, *options)


def progress(ran: Ran) -> list[str]:
    """Return the lines of progress, without the seconds."""
    return [line[8:] if line[5:6] == "s" else line for line in ran.lines]


READY = Step(service_status())


def test_every_stage_is_told_until_it_serves(user: User) -> None:
    ran = play(
        user,
        Step({}),
        Step(service_status(None, "False", "Initializing", active="", pending="cascade-a", endpoints=0)),
        Step(
            service_status(
                "DEPLOYING", "False", "ZeroServeEndpoints", endpoints=0, deployments={"q": {"status": "UPDATING"}}
            )
        ),
        Step(service_status("RUNNING", "False", "ZeroServeEndpoints", endpoints=0)),
        READY,
    )
    assert ran.code == 0, ran.err
    named = "RayService/cascade: waiting for "
    assert progress(ran) == [
        f"{named}KubeRay to take up generation 1, Ready (KubeRay has not reported yet), a cluster, "
        "application cascade (not deployed yet), a ready endpoint",
        f"{named}Ready (Initializing), the cluster (cascade-a), application cascade (not deployed yet), "
        "a ready endpoint",
        f"{named}Ready (ZeroServeEndpoints), application cascade (DEPLOYING: q UPDATING), a ready endpoint",
        f"{named}Ready (ZeroServeEndpoints), a ready endpoint",
        "RayService/cascade: ready",
        "All of it is ready.",
    ]


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (service_status(observed=0), "KubeRay to take up generation 1"),
        (service_status(pending="cascade-b"), "the upgrade's end (cascade-a serves, cascade-b comes)"),
        (service_status(endpoints=0), "a ready endpoint"),
        (service_status("UNHEALTHY"), "application cascade (UNHEALTHY)"),
        (service_status(None), "application cascade (not deployed yet)"),
    ],
)
def test_ready_alone_is_not_enough(user: User, status: Body, missing: str) -> None:
    ran = play(user, Step(status), READY)
    assert ran.code == 0
    assert progress(ran)[0] == f"RayService/cascade: waiting for {missing}"


def test_ready_for_a_moment_is_not_ready(user: User) -> None:
    # The status of the config before, until Serve has taken up the new one.
    ran = play(user, READY, Step(service_status("DEPLOYING")), READY, options=("--settle-s", "0.3"))
    assert [line.split(": ")[-1] for line in progress(ran)] == [
        "ready",
        "waiting for application cascade (DEPLOYING)",
        "ready",
        "All of it is ready.",
    ]


def test_an_upgrade_shows_both_clusters_and_heeds_the_new_ones_pods_alone(user: User) -> None:
    old = worker("old", "cascade-a", containerStatuses=[waiting("CrashLoopBackOff")])
    ran = play(
        user,
        Step(service_status("DEPLOYING", pending="cascade-b"), pods=[old]),
        Step(service_status(active="cascade-b"), pods=[]),
    )
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            Step(service_status(None, "False", "ValidationFailed", "rayVersion is missing.", active="", endpoints=0)),
            "RayService/cascade: KubeRay says ValidationFailed: rayVersion is missing.",
        ),
        (
            Step(service_status("DEPLOY_FAILED", "False", message="ImportError: no serve_app")),
            "RayService/cascade: Serve could not deploy application cascade: ImportError: no serve_app",
        ),
        (
            Step(
                service_status("DEPLOYING", "False"),
                pods=[worker(containerStatuses=[waiting("ImagePullBackOff", "Back-off pulling image ray:9")])],
            ),
            "RayService/cascade: Pod/worker-1, container ray: ImagePullBackOff: Back-off pulling image ray:9.",
        ),
        (
            Step(
                service_status("DEPLOYING", "False"),
                pods=[worker(phase="Failed", reason="Evicted", message="low on disk")],
            ),
            "RayService/cascade: Pod/worker-1 failed: low on disk.",
        ),
    ],
)
def test_what_never_will_be_is_said_at_once(user: User, step: Step, expected: str) -> None:
    ran = play(user, step)
    assert (ran.code, ran.err.strip()) == (1, f"cascade: {expected}")


def test_a_crash_is_told_even_if_its_log_cannot_be_read(user: User, stub: ApiStub) -> None:
    stub.fail("GET", "/api/v1/namespaces/demo/pods/worker-1/log", disconnect, times=99)
    crashed = waiting("CrashLoopBackOff", restarts=4, last={"reason": "OOMKilled", "exitCode": 137})
    ran = play(user, Step(service_status("DEPLOYING", "False"), pods=[worker(containerStatuses=[crashed])]))
    assert ran.code == 1
    assert "Pod/worker-1, container ray: CrashLoopBackOff: it ended 4 times" in ran.err
    assert "Its log could not be read: " in ran.err


def test_a_crash_comes_with_the_last_log_lines_and_without_tokens(user: User, stub: ApiStub) -> None:
    stub.logs["worker-1"] = "loading\nHF_TOKEN=hf_abcdefghij123 Bearer abc.def\nKeyError: 'model'\n"
    crashed = waiting("CrashLoopBackOff", restarts=4, last={"reason": "OOMKilled", "exitCode": 137})
    ran = play(user, Step(service_status("DEPLOYING", "False"), pods=[worker(containerStatuses=[crashed])]))
    assert ran.err.splitlines() == [
        "cascade: RayService/cascade: Pod/worker-1, container ray: CrashLoopBackOff: it ended 4 times, the last time "
        "by OOMKilled (exit code 137).",
        "  Its last log lines:",
        "    loading",
        "    HF_TOKEN=(hidden) Bearer (hidden)",
        "    KeyError: 'model'",
    ]
    log = next(request for request in stub.requests if request.path.endswith("/log"))
    assert log.query == {"container": "ray", "tailLines": "15", "previous": "true"}


def homeless(since: str) -> list[Body]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since}
    message = {"message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}
    return [worker(f"worker-{n}", conditions=[condition | message]) for n in (1, 2)]


def test_pods_without_a_node_come_with_the_sum(user: User, stub: ApiStub) -> None:
    stub.put("v1", "Node", "gpu-1", None, status={"allocatable": {"nvidia.com/gpu": "4", "cpu": "64"}})
    stub.put("v1", "Node", "off", None, spec={"unschedulable": True}, status={"allocatable": {"nvidia.com/gpu": "8"}})
    ran = play(user, Step(service_status("DEPLOYING", "False"), pods=homeless(LONG_AGO)))
    assert ran.err.strip() == (
        "cascade: RayService/cascade: no node for worker-1, worker-2: 0/1 nodes are available: 1 Insufficient "
        "nvidia.com/gpu. 2 pods ask for 8 nvidia.com/gpu, 16 cpu; all nodes together have 4 nvidia.com/gpu, 64 cpu."
    )


def test_pods_that_wait_for_a_node_only_now_are_waited_for(user: User) -> None:
    ran = play(user, Step(service_status("DEPLOYING", "False"), pods=homeless(now())), Step(service_status(), pods=[]))
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_a_node_that_an_autoscaler_has_promised_is_waited_for(user: User, reason: str) -> None:
    promises = [event(reason, "a node will come", f"worker-{n}", "Normal") for n in (1, 2)]
    ran = play(
        user, Step(service_status("DEPLOYING", "False"), homeless(LONG_AGO), promises), Step(service_status(), [], [])
    )
    assert ran.code == 0, ran.err


def event(reason: str, message: str, about: str, type_: str = "Warning", at: str | None = None) -> Body:
    body = {"metadata": {"name": f"{about}.{reason}"}, "type": type_, "reason": reason, "message": message}
    return body | {"involvedObject": {"kind": "Any", "name": about}, "lastTimestamp": at or now()}


def test_pods_over_quota_are_said(user: User) -> None:
    words = 'pods "cascade-a-worker" is forbidden: exceeded quota: gpus, requested: 4, used: 8, limited: 8'
    ran = play(
        user, Step(service_status("DEPLOYING", "False"), [], [event("FailedToCreateWorkerPod", words, "cascade-a")])
    )
    assert ran.err == f"cascade: RayService/cascade: its pods are refused (FailedToCreateWorkerPod): {words}.\n"


def test_an_old_event_is_no_reason(user: User) -> None:
    old = event("FailedToCreateWorkerPod", "exceeded quota: gpus", "cascade-a", at=LONG_AGO)
    ran = play(user, Step(service_status("DEPLOYING", "False"), [], [old]), READY)
    assert ran.code == 0, ran.err


def test_at_the_end_it_says_what_is_missing(user: User, stub: ApiStub) -> None:
    deployments = {"qwen": {"status": "UPDATING", "message": "Waiting for resources"}}
    stub.fail("GET", "/nodes", refusing(403, "Forbidden", "nodes is forbidden"), times=1000)
    step = Step(
        service_status("DEPLOYING", "False", "ZeroServeEndpoints", endpoints=0, deployments=deployments),
        homeless(now()),
        [event("Unhealthy", "Readiness probe failed", "worker-1"), event("Unhealthy", "other", "someone-elses")],
    )
    ran = play(user, step, options=("--timeout-s", "0.5"))
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "cascade: Not ready after 0.5 s. Missing:",
        "  RayService/cascade: Ready (ZeroServeEndpoints), application cascade (DEPLOYING: qwen UPDATING), "
        "a ready endpoint",
        "Pending pods: worker-1, worker-2",
        "Serve on qwen: Waiting for resources",
        "Last warnings:",
        "  Any/worker-1: Unhealthy: Readiness probe failed",
        "Not seen: You may not list nodes as context 'lab': nodes is forbidden.",
    ]


@pytest.mark.parametrize("trouble", [gone, disconnect, overloaded])
def test_a_watch_that_breaks_is_as_good_as_a_change(user: User, stub: ApiStub, trouble: object) -> None:
    stub.fail("WATCH", "/rayservices", trouble, times=2)  # type: ignore[arg-type]
    deploying = Step(service_status("DEPLOYING", "False"))
    ran = play(user, deploying, deploying, deploying, READY, options=("--poll-s", "5"))
    assert ran.code == 0, ran.err
    assert [request.query["fieldSelector"] for request in stub.requests if "watch" in request.query] == [
        "metadata.name=cascade"
    ] * 3


def test_an_account_that_may_not_watch_polls(user: User, stub: ApiStub) -> None:
    stub.fail("WATCH", "/rayservices", refusing(403, "Forbidden", "cannot watch"), times=2)
    deploying = Step(service_status("DEPLOYING", "False"))
    with patch("serve_app.cluster.live.client.time.sleep") as sleep:
        ran = play(user, deploying, deploying, READY, options=("--poll-s", "5"))
    assert ran.code == 0, ran.err
    assert [call.args[0] for call in sleep.call_args_list].count(5) == 2


def test_an_api_server_that_is_away_is_waited_for(user: User, stub: ApiStub) -> None:
    stub.fail("GET", "/rayservices/", overloaded, times=4)
    ran = play(user, READY)
    assert ran.code == 0
    assert progress(ran) == [
        "The API server of context 'lab' is in trouble: it answers get RayService/cascade with HTTP 503, four times in "
        "a row. Trying again.",
        "RayService/cascade: ready",
        "All of it is ready.",
    ]


def test_a_suspended_service_will_not_run(user: User, stub: ApiStub) -> None:
    suspended = ray_service()
    suspended["spec"]["suspend"] = True
    stub.put("ray.io/v1", "RayService", "cascade", spec=suspended["spec"])
    ran = user.run("wait", user.write(suspended), *PROMPT)
    assert ran.err == "cascade: RayService/cascade: it is suspended (spec.suspend), so nothing will run.\n"


def test_jobs_and_claims_are_waited_for(user: User, stub: ApiStub) -> None:
    stub.put("batch/v1", "Job", "fetch", spec=JOB["spec"])
    stub.put("v1", "PersistentVolumeClaim", "models", spec=CLAIM["spec"])
    stub.script["Job"] = [Step({"active": 1}), Step({"conditions": [{"type": "Complete", "status": "True"}]})]
    stub.script["PersistentVolumeClaim"] = [Step({"phase": "Pending"}), Step({"phase": "Bound"})]
    ran = user.run("wait", user.write(JOB, CLAIM), *PROMPT)
    assert ran.code == 0, ran.err
    assert progress(ran) == [
        "PersistentVolumeClaim/models: waiting for a volume (it is Pending)",
        "Job/fetch: waiting for the Job's end (1 pods at work)",
        "PersistentVolumeClaim/models: ready",
        "Job/fetch: ready",
        "All of it is ready.",
    ]


def test_a_job_that_failed_comes_with_its_log(user: User, stub: ApiStub) -> None:
    failed = {"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}
    stub.put("batch/v1", "Job", "fetch", spec=JOB["spec"], status={"conditions": [failed]})
    pod = {"phase": "Failed", "containerStatuses": [{"name": "pull"}]}
    stub.put("v1", "Pod", "fetch-x", metadata={"labels": {"job-name": "fetch"}}, spec={"containers": []}, status=pod)
    stub.logs["fetch-x"] = "cascade: No space left on device.\n"
    ran = user.run("wait", user.write(JOB), *PROMPT)
    assert ran.err.splitlines() == [
        "cascade: Job/fetch: it failed: Job has reached the specified backoff limit.",
        "  Its last log lines:",
        "    cascade: No space left on device.",
    ]


def test_what_was_never_applied_is_not_waited_for(user: User) -> None:
    ran = user.run("wait", user.write(CLAIM), *PROMPT)
    assert ran.err == "cascade: PersistentVolumeClaim/models: it is absent: apply it first.\n"


def test_a_job_that_is_removed_when_done_has_done_its_work(user: User) -> None:
    removed = JOB | {"spec": JOB["spec"] | {"ttlSecondsAfterFinished": 60}}
    assert user.run("wait", user.write(removed), *PROMPT).out.endswith("Job/fetch: ready\nAll of it is ready.\n")


def test_a_verdict_on_a_generation_before_is_no_verdict(user: User) -> None:
    stale = service_status(None, "False", "ValidationFailed", "rayVersion is missing.", observed=0)
    assert play(user, Step(stale), READY).code == 0


def test_ctrl_c_ends_it_without_a_word(user: User, stub: ApiStub) -> None:
    stub.put("v1", "PersistentVolumeClaim", "models", spec=CLAIM["spec"])
    with user.start("wait", user.write(CLAIM)) as program:
        assert program.stdout
        assert program.stdout.readline().endswith(
            "PersistentVolumeClaim/models: waiting for a volume (it is Pending)\n"
        )
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out, err) == (130, "", "")
