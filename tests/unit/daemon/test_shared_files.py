"""Which files every box sees, and how what is used from there is told of (`[nodes] shared`)."""

from __future__ import annotations

import pytest

from gpujobs.config.cluster import NodesTable
from gpujobs.config.site import SiteConfig


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("/mnt/lab/x.npz", True),
        ("/mnt/lab/a/b", True),
        ("/mnt/laboratory/x", False),
        ("/mnt/x", False),
        ("/data/x", True),
    ],
)
def test_what_lies_below_a_shared_directory_is_seen_by_every_box(path: str, has: bool) -> None:
    assert NodesTable(shared=["/mnt/lab", "/data"]).has(path) is has


def test_nothing_is_shared_where_nothing_is_said() -> None:
    assert not SiteConfig().nodes.has("/mnt/lab/x")


def test_a_shared_directory_is_an_absolute_path() -> None:
    with pytest.raises(ValueError, match="expected a path that begins with /"):
        NodesTable(shared=["lab"])
