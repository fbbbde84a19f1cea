"""Settings: flags first, then the environment, then gpujobs.toml, then the defaults.

Client and daemon both resolve them here, so that they agree on where the socket is. Standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpujobs.errors import UsageError

SITE_STATE_DIR = Path("/var/lib/gpujobs")
SITE_SOCKET = Path("/run/gpujobs/gpujobs.sock")
SITE_CONFIG = Path("/etc/gpujobs/gpujobs.toml")
SITE_UNIT = Path("/etc/systemd/system/gpujobs.service")
SOCKET_NAME = "gpujobs.sock"

KEYS: dict[str, type] = {
    "state_dir": str,
    "socket": str,
    "cpu_slots": int,
    "require_gpu": bool,
    "max_retries": int,
}

KIND_NAMES = {str: "text", int: "a whole number", bool: "true or false"}

TABLES = (
    "access",
    "quotas",
    "priority",
    "shares",
    "limits",
    "packing",
    "foreign",
    "devices",
    "reservations",
    "retention",
    "web",
    "cluster",
    "nodes",
    "trainers",
    "metrics",
    "notify",
)
"""What `gpujobs.config.site` reads: the daemon's alone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a daemon is started with. `mode` is site, personal or embedded.

    `cpu_slots` None means one per two cores. `require_gpu` False lets a trainer accept a GPU that
    TensorFlow does not see, for tests with a fake NVML.
    """

    mode: str
    state_dir: Path
    socket: Path
    config: Path | None = None
    cpu_slots: int | None = None
    require_gpu: bool = True
    max_retries: int = 10
    web: str | None = None
    """ADDRESS:PORT of the pages as a flag says it, empty for none; None where no flag says anything."""
    ray_address: str | None = None
    """HOST:PORT of a Ray that is there already; None: the daemon starts its own."""


def resolve(
    flags: Mapping[str, Any] | None = None,
    *,
    mode: str = "personal",
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings of a daemon of this mode. `flags`: state_dir, socket, config, cpu_slots, where given.

    Raises UsageError, naming the file and the key, where a value makes no sense.
    """
    given = _given(flags, environ)
    config = _config_path(given, mode, environ)
    file = _read_config(config)
    if config == SITE_CONFIG and mode != "site":
        # The site's places are the site daemon's; a personal one takes only its limits.
        file = {key: value for key, value in file.items() if key not in ("state_dir", "socket")}
    values = {**file, **given}
    web = (flags or {}).get("web")
    if web:
        listen_address(web)
    state_dir = _state_dir(values, mode, environ)
    return Settings(
        mode=mode,
        state_dir=state_dir,
        socket=_socket(values, state_dir, mode, environ),
        config=config,
        cpu_slots=values.get("cpu_slots"),
        require_gpu=values.get("require_gpu", True),
        max_retries=values.get("max_retries", 10),
        web=web,
        ray_address=ray_address((flags or {}).get("ray_address"), mode),
    )


def config_path(
    flags: Mapping[str, Any] | None = None, *, mode: str, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """The configuration that a daemon of this mode reads; None where there is none."""
    return _config_path(_given(flags, environ), mode, environ)


def sockets(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where a client looks for a daemon, in order: the one that was named, or the user's, then the site's."""
    personal = resolve(flags, environ=environ)
    site = site_socket(flags, environ)
    if site is None:
        return [personal.socket]
    return list(dict.fromkeys([personal.socket, personal.state_dir / "run" / SOCKET_NAME, site]))


def site_socket(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """Where the site's daemon would answer; None where a certain daemon was named."""
    given = _given(flags, environ)
    if "socket" in given or "state_dir" in given:
        return None
    site = _read_config(SITE_CONFIG)
    return _socket(site, _state_dir(site, "site", environ), "site", environ)


def names_socket_alone(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> bool:
    """Whether a daemon was named of which only the socket is known."""
    given = _given(flags, environ)
    return "socket" in given and "state_dir" not in given


def installed_site(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """What shows that this machine has a daemon for everybody, whether or not it runs; None where it has none, or
    where a certain daemon was named."""
    socket = site_socket(flags, environ)
    if socket is None:
        return None
    return next((path for path in (SITE_UNIT, SITE_CONFIG, SITE_STATE_DIR, socket) if _exists(path)), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # there is something that is closed to us
        return True


def personal_state(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's own directory for what programs keep between two runs."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state")


def ray_address(text: str | None, mode: str) -> str | None:
    """Raises UsageError where it cannot be used."""
    if text is None:
        return None
    if mode == "site":
        raise UsageError(
            "--ray-address is for a personal daemon: on a Ray that is there already all jobs run as its one user, so "
            "those of several users could not be kept apart. `gpujobs serve --personal --ray-address ...` serves only "
            "yourself; boxes of a site join with `gpujobs node join` (docs/cluster.md)"
        )
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9.-]+", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise UsageError(
            f"--ray-address {text}: expected HOST:PORT of its GCS, such as 10.0.0.5:6379, on a box that is one of its "
            "nodes (a client's ray:// cannot place agents)"
        )
    return text


def cluster_address(text: str) -> tuple[str, int]:
    """`10.0.0.5:8480`: where other boxes reach this one. Raises UsageError."""
    import ipaddress

    address, _, port = text.rpartition(":")
    try:
        parsed = ipaddress.IPv4Address(address)
        if parsed.is_unspecified or not port.isascii() or not port.isdecimal():
            raise ValueError
        if not 1024 <= int(port) <= MAX_CLUSTER_PORT:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{text!r} is no address for a cluster; expected this box's own IPv4 address, by which the others "
            "reach it, and "
            f"the first of its ports (1024 to {MAX_CLUSTER_PORT}), such as 10.0.0.5:8480"
        ) from None
    return str(parsed), int(port)


MAX_CLUSTER_PORT = 65535 - 119


def listen_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:8470`, `[::1]:0`. Raises UsageError."""
    import ipaddress

    address, colon, port = text.rpartition(":")
    try:
        parsed = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
        if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise ValueError
        if (parsed.version == 6) != (address.startswith("[") and address.endswith("]")):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{text!r} is no address for the pages; expected ADDRESS:PORT such as 127.0.0.1:8470 or [::1]:8470"
        ) from None
    return str(parsed), int(port)


def _given(flags: Mapping[str, Any] | None, environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in ("state_dir", "socket", "config"):
        text = (flags or {}).get(key) or environ.get(f"GPUJOBS_{key.upper()}")
        if text:
            values[key] = str(text)
    if (flags or {}).get("cpu_slots") is not None:
        values["cpu_slots"] = (flags or {})["cpu_slots"]
    require_gpu = environ.get("GPUJOBS_REQUIRE_GPU")
    if require_gpu is not None:
        if require_gpu not in ("0", "1"):
            raise UsageError(f"GPUJOBS_REQUIRE_GPU is {require_gpu!r}; expected 0 or 1; unset it or set one.")
        values["require_gpu"] = require_gpu == "1"
    return values


def _config_path(given: Mapping[str, Any], mode: str, environ: Mapping[str, str]) -> Path | None:
    if "config" in given:
        return Path(given["config"]).absolute()
    user = _xdg(environ, "XDG_CONFIG_HOME", ".config") / "gpujobs.toml"
    places = [SITE_CONFIG] if mode == "site" else [user, SITE_CONFIG]
    return next((path for path in places if path.exists()), None)


def _read_config(path: Path | None) -> dict[str, Any]:
    if path is None or (path == SITE_CONFIG and not path.exists()):
        return {}
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); name another configuration with --config."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}.") from error
    for key, value in values.items():
        _check_key(path, key, value)
    return values


def _check_key(path: Path, key: str, value: object) -> None:
    if problem := key_problem(key, value):
        raise UsageError(f"{path}: {problem}")


def key_problem(key: str, value: object) -> str | None:
    """What is wrong with a key of the file's top; tables are looked into by `gpujobs.config.site`."""
    if key in TABLES:
        return None
    kind = KEYS.get(key)
    if kind is None:
        return f"unknown key {key}{nearest_key(key, [*KEYS, *TABLES])}"
    if type(value) is not kind:
        return f"{key} is {value!r}; expected {KIND_NAMES[kind]}."
    least = 1 if key == "cpu_slots" else 0
    if type(value) is int and value < least:
        return f"{key} is {value}; expected at least {least}."
    return None


def nearest_key(key: str, known: Sequence[str]) -> str:
    """`; did you mean X?`, or all that are known."""
    import difflib

    nearest = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {nearest[0]}?" if nearest else f"; the keys are {', '.join(known)}."


def _state_dir(values: Mapping[str, Any], mode: str, environ: Mapping[str, str]) -> Path:
    if "state_dir" in values:
        return Path(values["state_dir"]).expanduser().absolute()
    return SITE_STATE_DIR if mode == "site" else _xdg(environ, "XDG_STATE_HOME", ".local/state")


def _socket(values: Mapping[str, Any], state_dir: Path, mode: str, environ: Mapping[str, str]) -> Path:
    if "socket" in values:
        return Path(values["socket"]).expanduser().absolute()
    if "state_dir" in values:
        return state_dir / SOCKET_NAME
    if mode == "site":
        return SITE_SOCKET
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) / "gpujobs" if runtime.startswith("/") else state_dir / "run"
    return base / SOCKET_NAME


def _xdg(environ: Mapping[str, str], name: str, default: str) -> Path:
    """A directory of the XDG base directory specification; a relative one is ignored, as it says."""
    base = environ.get(name, "")
    return (Path(base) if base.startswith("/") else Path.home() / default) / "gpujobs"
