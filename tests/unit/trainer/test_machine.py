"""What `environment.json` says of the box, from texts as kernels and drivers write them."""

from __future__ import annotations

import pytest

from gpujobs.trainer.machine import cpu_name, driver_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n",
            "550.54.15",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.230.02  Release Build  (dvs-builder@U16)\n"
            "GCC version:  gcc version 11.4.0\n",
            "535.230.02",
        ),
        ("", None),
    ],
)
def test_the_version_of_the_driver(text: str, version: str | None) -> None:
    assert driver_version(text) == version


def test_the_name_of_the_processor() -> None:
    assert cpu_name("processor\t: 0\nmodel name\t: AMD EPYC 9354 32-Core Processor\nflags\t: fpu\n") == (
        "AMD EPYC 9354 32-Core Processor"
    )
    assert cpu_name("processor\t: 0\nBogoMIPS\t: 50.00\n") is None
