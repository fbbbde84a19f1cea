"""How the head gets its Ray: of this machine alone, one that other boxes can join, or one that was there before."""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from pathlib import Path

from gpujobs.cluster import certificates, renewal
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.environment import (
    LINKS,
    OBJECT_STORE_BYTES,
    lasting_token,
    make_token,
    object_store_directory,
    ray_environment,
)
from gpujobs.cluster.members import OWN
from gpujobs.cluster.orphans import end_ray_of
from gpujobs.cluster.ports import Ports
from gpujobs.cluster.ray_node import RayNode, RayProcesses
from gpujobs.cluster.taken import PURPOSES, require_free
from gpujobs.errors import MachineError
from gpujobs.linux.saying import say
from gpujobs.model import DeviceKind
from gpujobs.node.devices import devices_of
from gpujobs.node.probe import read_once
from gpujobs.paths import StatePaths
from gpujobs.protocol.settings import Listening, NodeSettings

_OTHER_PORTS = (
    "end what listens there, or name another port as `listen` under [cluster], and restart the daemon"
)


def first_line(text: str) -> str:
    return next(filter(None, (line.strip() for line in text.splitlines())), "")[:500]


def gpus_here(settings: NodeSettings) -> int:
    node = devices_of(read_once(settings.probe_deadline_seconds), settings.node_name, settings.cpu_slots)
    return sum(device.kind is DeviceKind.GPU for device in node.devices)


def start_ray(paths: StatePaths, temp_parent: Path, gpus: int) -> None:
    """A cluster of this machine alone. The address is explicit: a bare init would follow a file in
    /tmp that anybody can write, and show our token to whoever is named there."""
    make_token(paths.ray_token)
    os.environ.update(ray_environment(paths.ray_token))
    from gpujobs.cluster import ray_init

    ray_init.init(
        address="local",
        num_gpus=gpus,
        resources={"gpujobs_node": 1},
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(temp_parent / "s"),
        **_object_store(temp_parent),
    )


def use_ray(address: str, gpus: int) -> int:
    """One that is there already, with what the environment says of its token and certificates. Returns how many GPUs
    of this box it has."""
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="gpujobs")
    except Exception as error:
        raise MachineError(
            f"the Ray at {address} cannot be used from here: {first_line(str(error))}; expected the address of its "
            "GCS, of the same Ray and Python as here, on a box that is one of its nodes"
        ) from error
    from gpujobs.cluster.guests import own_gpus

    return own_gpus(gpus)


def start_cluster(paths: StatePaths, temp_parent: Path, gpus: int, listening: Listening) -> RayProcesses:
    """A cluster that other boxes can join: Ray listens on this address, on ports that are fixed."""
    tls = TlsFiles(paths.tls) if listening.tls else None
    if tls is not None:
        renewal.finish(tls, paths.cluster_token)
    lasting_token(paths.cluster_token)
    end_ray_of(paths.cluster_token)
    if tls is not None:
        certificates.keep_box(tls, listening.address)
    os.environ.update({**ray_environment(paths.cluster_token, tls), **LINKS})
    ports = Ports(listening.port)
    node = RayNode(
        address=listening.address, ports=ports, head=None, incarnation=OWN, gpus=gpus, temp=temp_parent
    )
    processes = RayProcesses(node, os.environ, paths.run / "ray.log")
    asyncio.run(require_free(ports, PURPOSES, f"Ray cannot start: {_OTHER_PORTS}"))
    processes.start(own_session=False)
    try:
        asyncio.run(_until_up(processes))
        import ray

        ray.init(
            address=f"{listening.address}:{ports['gcs']}",
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address=listening.address,
            _temp_dir=str(temp_parent / "s"),
        )
    except BaseException:
        processes.end()
        raise
    return processes


async def _until_up(processes: RayProcesses) -> None:
    """Ray is imported meanwhile: both take a second or two."""
    await asyncio.gather(processes.wait_until_up(), asyncio.to_thread(import_module, "ray"))


def _object_store(temp_parent: Path) -> dict[str, str]:
    directory = object_store_directory(OBJECT_STORE_BYTES, temp_parent)
    if directory is None:
        return {}
    say(f"/dev/shm cannot be used; Ray's object store is in {directory}")
    return {"_plasma_directory": str(directory)}
