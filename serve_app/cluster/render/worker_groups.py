"""Turn a plan into worker groups: the shape of their pods, and how many at least, at the start and at most.

A group has the replicas of one accelerator type (or of none, or without GPUs); replicas with custom resources have a
group of their own. Its pods are as large as its largest replica needs on one node; if the number of replicas is
fixed and one node holds them all, the group is one pod with just their GPUs. Pods are counted by placing the
replicas on them, as `cascade plan` does.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from serve_app.cluster.field_types import bytes_of
from serve_app.cluster.settings import Settings
from serve_app.config.deployment import ACCELERATOR, FIELDS, Bundle
from serve_app.errors import ConfigError
from serve_app.planning.feasibility import NodeGroup, fits
from serve_app.planning.plan import Placement, Plan, Replicas, When, scaled, total

SPREAD = ("SPREAD", "STRICT_SPREAD")


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """Pods of one shape. `memory` is in bytes; `custom` are Ray's resources beside CPU, GPU and memory.

    `cpus` are the pod's, `ray_cpus` those that Ray counts: on a GPU pod no more than its own replicas need, since other
    replicas there would keep the pod from being removed.
    """

    name: str
    placements: tuple[Placement, ...]
    cpus: int
    ray_cpus: int
    memory: int
    gpus: int
    accelerator: str | None
    custom: dict[str, int]
    pods: Replicas

    def room(self) -> Bundle:
        """Return the resources that Ray counts in one pod."""
        room: Bundle = {"CPU": self.ray_cpus, "GPU": self.gpus, "memory": self.memory, **self.custom}
        return room | ({ACCELERATOR + self.accelerator: 1} if self.accelerator else {})

    def sentence(self) -> str:
        """Describe the group for the user."""
        number = str(self.pods.min) if self.pods.min == self.pods.max else f"{self.pods.min} to {self.pods.max}"
        gpus = f", {self.gpus} {self.accelerator or ''} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else ""
        size = f"{self.cpus} CPUs, {self.memory / 2**30:.4g} GiB{gpus.replace('  ', ' ')}"
        return f"{self.name}: {number} of {size}, for {', '.join(p.name for p in self.placements)}"


def worker_groups(plan: Plan, settings: Settings) -> list[WorkerGroup]:
    """Return the groups that hold a plan, CPU first. Raises ConfigError if no pod can hold a replica."""
    kinds: dict[tuple[bool, str, tuple[str, ...]], list[Placement]] = {}
    for placement in plan:
        key = (_gpus(placement) > 0, _accelerator(placement) or "", _custom_names(placement))
        kinds.setdefault(key, []).append(placement)
    groups = [group for key in sorted(kinds) for group in _groups(kinds[key], settings)]
    return [replace(group, name=name) for name, group in zip(_names(groups), groups, strict=True)]


def cautions(groups: Sequence[WorkerGroup]) -> list[str]:
    """Return a sentence for each pair of groups between which Ray's scheduler may choose wrongly."""
    sentences = []
    for number, group in enumerate(groups):
        rivals = [
            later_group
            for later_group in groups[number + 1 :]
            if _may_take(group, later_group) or _may_take(later_group, group)
        ]
        sentences += [
            f"the pods of {group.name!r} and {later_group.name!r} have the same GPUs: Ray may put a small replica on a "
            "large pod, and a large one then waits for another pod; an accelerator_type or a custom resource keeps "
            "them apart"
            for later_group in rivals
        ]
    return sentences


def _may_take(pods: WorkerGroup, guests: WorkerGroup) -> bool:
    """Return whether Ray could place replicas of `guests` with GPUs on pods of another group."""
    return bool(
        pods.gpus
        and guests.gpus
        and guests.accelerator in (None, pods.accelerator)
        and set(guests.custom) <= set(pods.custom)
    )


def _groups(placements: Sequence[Placement], settings: Settings) -> Iterator[WorkerGroup]:
    """Yield one group, or one for each shape of pod."""
    if not _gpus(placements[0]):
        needs, pod = _largest(placements), settings.cpu_worker
        cpus, memory = max(pod.cpus, ceil(needs.get("CPU", 0))), max(bytes_of(pod.memory), int(needs.get("memory", 0)))
        yield _counted(placements, cpus, cpus, memory, 0)
        return
    if single := _one_pod(placements, settings):
        yield single
        return
    for gpus in sorted({_shape(placement, settings) for placement in placements}):
        placements_of_size = [p for p in placements if _shape(p, settings) == gpus]
        # As many CPUs as a pod full of the replicas that ask for the most beside their GPUs.
        full = max(need.get("CPU", 0) * gpus / need["GPU"] for need in map(_per_node, placements_of_size))
        yield _gpu_group(placements_of_size, gpus, _largest(placements_of_size) | {"CPU": full}, settings)


def _one_pod(placements: Sequence[Placement], settings: Settings) -> WorkerGroup | None:
    """Return a group of one pod that holds all replicas, or None if their number varies or no node is large enough."""
    if any(p.replicas.min != p.replicas.max or p.strategy in SPREAD for p in placements):
        return None
    everything = total(scaled(p.resources, p.replicas.max) for p in placements)
    for gpus in range(max(1, ceil(everything.get("GPU", 0))), settings.gpus_per_node + 1):
        group = _gpu_group(placements, gpus, everything, settings)
        if group.pods.max == 1:
            return group
    return None


def _gpu_group(placements: Sequence[Placement], gpus: int, needs: Bundle, settings: Settings) -> WorkerGroup:
    """Return pods of so many GPUs, with the CPUs and memory that the settings give to each, or `needs` if more."""
    ray_cpus = max(1, ceil(needs.get("CPU", 0)))
    cpus = max(settings.gpu_worker.cpus_per_gpu * gpus, ray_cpus)
    memory = max(bytes_of(settings.gpu_worker.memory_per_gpu) * gpus, int(needs.get("memory", 0)))
    return _counted(placements, cpus, ray_cpus, memory, gpus)


def _counted(placements: Sequence[Placement], cpus: int, ray_cpus: int, memory: int, gpus: int) -> WorkerGroup:
    custom = {
        name: max(1, ceil(sum(p.resources.get(name, 0) * p.replicas.max for p in placements)))
        for name in _custom_names(placements[0])
    }
    accelerator, none = _accelerator(placements[0]), Replicas(0, 0, 0)
    group = WorkerGroup("", tuple(placements), cpus, ray_cpus, memory, gpus, accelerator, custom, none)
    return replace(group, pods=Replicas(_pods(group, "min"), _pods(group, "initial"), _pods(group, "max")))


def _pods(group: WorkerGroup, when: When) -> int:
    """Return the smallest number of pods that hold all replicas. Raises ConfigError if none does."""
    counts = [getattr(p.replicas, when) for p in group.placements]
    fixed = [replace(p, replicas=Replicas(n, n, n)) for p, n in zip(group.placements, counts, strict=True)]
    plan, bundles = Plan(tuple(fixed)), sum(n * len(p.bundles) for n, p in zip(counts, fixed, strict=True))
    needs, room = plan.totals("max"), group.room()
    least = max((ceil(round(needs[name] / room[name], 6)) for name in needs if room.get(name)), default=0)
    for number in range(least, max(least, bundles) + 1):
        fit = fits(plan, [NodeGroup("pods", room, number, number)])
        if not fit.impossible and not fit.warnings:
            return number
    names = ", ".join(repr(p.name) for p in group.placements)
    raise ConfigError(f"No pod can hold the replicas of {names}: {'; '.join(fit.impossible or fit.warnings)}.")


def _shape(placement: Placement, settings: Settings) -> int:
    """Return how many GPUs the pods have on which such replicas run."""
    gpus, largest = ceil(_gpus(placement)), settings.gpus_per_node
    if placement.strategy in SPREAD:
        gpus = ceil(max(bundle.get("GPU", 0) for bundle in placement.bundles))
    elif placement.strategy == "PACK":
        gpus = min(gpus, largest)  # the rest is on other pods
    if gpus > largest:
        raise ConfigError(
            f"A replica of {placement.name!r} needs {gpus} GPUs on one node, more than gpus_per_node ({largest})."
        )
    return gpus


def _per_node(placement: Placement) -> Bundle:
    """Return what one replica requests of one node, by those of its bundles that may be placed there together."""
    if placement.strategy in SPREAD:
        return {name: max(bundle.get(name, 0) for bundle in placement.bundles) for name in placement.resources}
    return placement.resources


def _largest(placements: Sequence[Placement]) -> Bundle:
    """Return the most of each resource that a replica requests of one node."""
    names = {name for placement in placements for name in placement.resources}
    return {name: max(_per_node(placement).get(name, 0) for placement in placements) for name in names}


def _gpus(placement: Placement) -> float:
    return placement.resources.get("GPU", 0)


def _accelerator(placement: Placement) -> str | None:
    marks = {name for bundle in placement.bundles for name in bundle if name.startswith(ACCELERATOR)}
    return min(marks).removeprefix(ACCELERATOR) if marks else None


def _custom_names(placement: Placement) -> tuple[str, ...]:
    return tuple(sorted(name for name in total(placement.bundles) if name not in FIELDS))


def _names(groups: Sequence[WorkerGroup]) -> list[str]:
    """Return names such as `cpu` and `gpu-l4`, with the number of GPUs if one kind has several shapes."""
    plain = ["-".join(["gpu" if g.gpus else "cpu", *filter(None, [g.accelerator]), *g.custom]) for g in groups]
    shaped = [f"{name}-x{g.gpus}" if plain.count(name) > 1 else name for name, g in zip(plain, groups, strict=True)]
    return [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in shaped]
