"""Placement of a model that several worker processes share: a bundle for each worker."""

from collections.abc import Sequence

from serve_app.config.deployment import Bundle, DeploymentOptions, Strategy


def check_workers(options: DeploymentOptions, workers: int, *, gpu: bool) -> None:
    """Raise ValueError if the deployment's resources do not match the number of workers."""
    actor, bundles = options.ray_actor_options, options.placement_group_bundles
    worker_count = f"{workers} worker{'s' if workers > 1 else ''} (tensor_parallel_size x pipeline_parallel_size)"
    if not gpu:
        gpu_requests = [actor.num_gpus, actor.accelerator_type, *(bundle.get("GPU") for bundle in bundles or ())]
        if any(gpu_requests):
            raise ValueError("deployment: asks for GPUs, but the model's device is cpu")
    elif bundles is not None:
        with_gpu = sum(bool(bundle.get("GPU")) for bundle in bundles)
        if with_gpu != workers or any(bundle.get("GPU", 0) > 1 for bundle in bundles):
            raise ValueError(
                f"deployment.placement_group_bundles: the model has {worker_count}, each of which needs a bundle with "
                f"one GPU (or a share of one); there are {with_gpu} with GPUs"
            )
    elif actor.num_gpus is not None and actor.num_gpus != workers and not (workers == 1 and 0 < actor.num_gpus < 1):
        share = ", or a share of one" if workers == 1 else ""
        raise ValueError(
            f"deployment.ray_actor_options.num_gpus: must be {workers}{share}, since the model has {worker_count}"
        )


def placed(options: DeploymentOptions, bundles: Sequence[Bundle], strategy: Strategy) -> DeploymentOptions:
    """Return the options with the workers' bundles, unless they have some of their own.

    What `ray_actor_options` ask for beside GPUs is added to the first bundle, which the replica shares with a worker.
    """
    if options.placement_group_bundles is not None:
        return options
    actor = options.ray_actor_options
    first = dict(bundles[0])
    if actor.num_gpus is not None and 0 < actor.num_gpus < 1:
        first["GPU"] = actor.num_gpus
    extra = {"CPU": actor.num_cpus, "memory": actor.memory, **actor.resources}
    for resource, amount in extra.items():
        if amount:
            first[resource] = first.get(resource, 0) + amount
    update = {"placement_group_bundles": [first, *bundles[1:]], "placement_group_strategy": strategy}
    return options.model_copy(
        update=update | {"ray_actor_options": actor.model_copy(update={"num_gpus": None})},
    )
