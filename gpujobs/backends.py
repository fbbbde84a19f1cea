"""The backends of Keras that a job may name, and whether this installation has them. None is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

TENSORFLOW = "tensorflow"
"""The default: its launcher is always there."""

JAX = "jax"

JAX_CUDA = ("jax_cuda12_plugin", "jax_cuda13_plugin")
"""The modules that make JAX see NVIDIA's GPUs; either will do."""


def backend_of(jobfile: Mapping[str, Any]) -> str:
    """The backend that a resolved job file names; a job that trains nothing names none."""
    return str(jobfile.get("training", {}).get("backend", TENSORFLOW))


def missing(backend: str, *, on_gpu: bool) -> str | None:
    """What this installation lacks for a backend, and how to get it; None where nothing is missing."""
    if backend != JAX:
        return None
    if not (_is_installed("jax") and _is_installed("jaxlib")):
        extra = "jax-cuda" if on_gpu else "jax"
        return f"JAX is not installed here; install it with `pip install 'gpujobs[{extra}]'`"
    if on_gpu and not any(map(_is_installed, JAX_CUDA)):
        return (
            "JAX is installed here without CUDA, so that it cannot use a GPU; install that with "
            "`pip install 'gpujobs[jax-cuda]'`"
        )
    return None


def _is_installed(module: str) -> bool:
    return find_spec(module) is not None
