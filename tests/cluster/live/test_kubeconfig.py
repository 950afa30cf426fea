"""Which cluster a command connects to, and as whom."""

from tests.cluster.kubectl import CONFIG, User


def test_no_kubeconfig(user: User) -> None:
    ran = user.run("apply", user.write(CONFIG), "--kubeconfig", "nowhere")
    assert ran.err.startswith("cascade: There is no kubeconfig at nowhere.")


def test_an_unknown_context_lists_the_known(user: User) -> None:
    ran = user.run("apply", user.write(CONFIG), "--context", "labb")
    assert "has no context 'labb'. Did you mean 'lab'? Available: lab, stale." in ran.err


def test_a_pod_without_a_service_account(user: User) -> None:
    ran = user.run("apply", user.write(CONFIG), KUBECONFIG="nowhere", KUBERNETES_SERVICE_HOST="127.0.0.1")
    assert (ran.code, ran.err.startswith("cascade: This pod has no usable service account: ")) == (1, True)
