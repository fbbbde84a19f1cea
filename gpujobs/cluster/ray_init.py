"""Starting Ray with no more processes than gpujobs needs: `ray.init`, and the command `ray`."""

from __future__ import annotations

from typing import Any

import ray

from gpujobs.cluster.spared import spared


def init(**options: Any) -> None:
    with spared():
        ray.init(**options)


def main() -> None:
    """As the command `ray`, with this process's arguments."""
    from ray.scripts import scripts

    with spared():
        scripts.main()
