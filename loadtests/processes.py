"""The processes of Ray Serve below this one: what each has used of CPU, memory and files."""

import re
from dataclasses import dataclass

import psutil

ROLE = re.compile(
    r"ray::(?:ServeReplica:[^:]*:(?P<deployment>\S+?)(?:\.[a-z_]+)?(?:\s.*)?$|(?P<actor>ProxyActor|HAProxyManager|ServeController)\b)"
    r"|(?:\S*/)?(?P<program>haproxy)\s"
)
"""Ray's titles of processes; while one works, the name of a method comes behind, and may take the place of the rest."""
_roles: dict[int, str] = {}
"""Of the processes that were seen with their whole title once."""


@dataclass(frozen=True)
class Usage:
    """What one process has used: CPU seconds since it started; the rest is now."""

    role: str
    pid: int
    cpu_s: float
    rss_mb: float
    files: int
    threads: int


def usages() -> list[Usage]:
    """Return the usage of this process's cluster: replicas by their deployment's name, proxies and the controller."""
    processes = []
    for process in psutil.Process().children(recursive=True):
        try:
            if matched := ROLE.match(" ".join(process.cmdline())):
                _roles[process.pid] = matched["deployment"] or matched["actor"] or matched["program"]
            if process.pid not in _roles:
                continue
            with process.oneshot():
                cpu = process.cpu_times()
                processes.append(
                    Usage(
                        role=_roles[process.pid],
                        pid=process.pid,
                        cpu_s=cpu.user + cpu.system,
                        rss_mb=process.memory_info().rss / 1e6,
                        files=process.num_fds(),
                        threads=process.num_threads(),
                    )
                )
        except psutil.NoSuchProcess:
            continue
    return processes


def cpu_s(samples: list[Usage]) -> dict[str, float]:
    """Return the CPU seconds by role, the replicas of a deployment together."""
    return {
        role: sum(usage.cpu_s for usage in samples if usage.role == role) for role in {usage.role for usage in samples}
    }
