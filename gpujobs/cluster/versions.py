"""What must be the same on all boxes of a cluster. Imports no Ray, which takes a second."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from gpujobs import __version__
from gpujobs.errors import MachineError
from gpujobs.protocol.joining import Versions


def own_versions() -> Versions:
    try:
        return Versions(__version__, version("ray"), platform.python_version())
    except PackageNotFoundError:
        raise MachineError(
            "Ray is not installed here; scripts/install-site installs it with gpujobs"
        ) from None
