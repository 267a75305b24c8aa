"""The launcher that the command line asks for."""

from ablations.launchers.base import Launcher
from ablations.launchers.local import Local
from workbench.names import unknown

LAUNCHERS = ("local", "ray")


def make_launcher(
    kind: str,
    *,
    device: str,
    processes: int,
    pin_cores: bool = False,
    ray_address: str | None = None,
    trial_cpus: float | None = None,
    trial_gpus: float | None = None,
) -> Launcher:
    """Make a launcher from the options of `workbench ablate`.

    Args:
        kind: "local" or "ray".
        device: "auto", "cpu" or "cuda".
        processes: that train one trial together.
        pin_cores: whether local workers keep to cores of their own.
        ray_address: of the cluster; None finds the one to which this machine belongs.
        trial_cpus: CPUs of a worker on a Ray cluster; None is one per process.
        trial_gpus: GPUs of a worker on a Ray cluster; None is one per process, if there are any.
    Raises:
        ValueError: if options do not go together, there are too few GPUs, or no cluster.
    """
    of_ray = {
        "--ray-address": ray_address,
        "--trial-cpus": trial_cpus,
        "--trial-gpus": trial_gpus,
    }
    misplaced = [name for name, value in of_ray.items() if value is not None]
    if kind == "local" and misplaced:
        raise ValueError(f"{misplaced[0]} goes with --launcher ray")
    if kind == "local":
        return Local(device, processes, pin_cores)
    if kind != "ray":
        raise ValueError(unknown("launcher", kind, LAUNCHERS))
    if pin_cores:
        raise ValueError("--pin-cores goes with --launcher local")
    try:
        from ablations.launchers.ray import RayCluster
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; install Ray with: pip install 'ppo-workbench[ray]'") from None
    return RayCluster(ray_address or "auto", device, processes, cpus=trial_cpus, gpus=trial_gpus)
