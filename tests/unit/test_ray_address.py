"""Which Ray `serve --ray-address` may name, and for whom."""

from __future__ import annotations

import pytest

from gpujobs.config.settings import ray_address
from gpujobs.errors import UsageError


def test_a_personal_daemon_may_use_a_ray_that_is_there() -> None:
    assert ray_address("raycluster-head-svc:6379", "personal") == "raycluster-head-svc:6379"
    assert ray_address(None, "site") is None


def test_a_site_daemon_may_not_since_all_would_run_as_one_user() -> None:
    with pytest.raises(UsageError, match=r"all jobs run as its one user.*`gpujobs node join`"):
        ray_address("10.0.0.5:6379", "site")


@pytest.mark.parametrize(
    "text", ["", "auto", "ray://10.0.0.5:10001", "10.0.0.5", "10.0.0.5:x", ":6379", "a b:1"]
)
def test_what_is_no_address_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected HOST:PORT of its GCS, such as 10\.0\.0\.5:6379"):
        ray_address(text, "personal")
