"""The line and the advice of made-up figures: said where they say so, and not else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpujobs.jobfile.schema import gpu_memory
from gpujobs.measured.advice import Setting, advice, of_data
from gpujobs.measured.figures import Figures, Host, figures
from gpujobs.measured.sums import Sums
from gpujobs.measured.words import energy, line, lines, told
from gpujobs.units import size_bytes

GIB = 1 << 30
ALONE = Setting(batch_size=8, is_whole=True)


def gpu(load: float | None = 0.29, **more: Any) -> Figures:
    """Of ten minutes on a whole GPU of 80 GiB, all of which was sampled."""
    known: dict[str, Any] = {
        "seconds": 600.0,
        "sampled_seconds": 599.0,
        "samples": 600,
        "load": load,
        "idle": None if load is None else 1 - load,
        "others": 0.0,
        "memory_peak_bytes": 3 * GIB,
        "memory_reserved_bytes": 80 * GIB,
        "data_share": 0.02,
    }
    return Figures(kind="gpu", **{**known, **more})


def test_an_idle_gpu_with_small_batches_gets_larger_ones() -> None:
    said = advice(gpu(0.29), ALONE)
    assert said == (
        "the GPU was idle 71% of the time; the batches of 8 are small for it: training.batch_size: 32 gives it more "
        "to do at once"
    )


@pytest.mark.parametrize(
    ("load", "batch", "samples", "reserved", "larger"),
    [
        (0.29, 8, None, 80 * GIB, 32),  # 4 x 29 % is more than all
        (0.05, 8, None, 80 * GIB, 64),  # never more than eight times
        (0.0, 8, None, 80 * GIB, 64),
        (0.49, 8, None, 80 * GIB, 32),  # twice would still leave it idle
        (0.5, 8, None, 80 * GIB, 16),
        (0.05, 200, None, 80 * GIB, 800),  # 1024 at most
        (0.05, 8, 40, 80 * GIB, 32),  # no batch is larger than what there is
        (0.05, 8, 6, 80 * GIB, None),
        (0.05, 8, None, 9 * GIB, 16),  # three GiB may become seven, and no more
        (0.05, 8, None, 6 * GIB, None),
    ],
)
def test_how_much_larger(
    load: float, batch: int, samples: int | None, reserved: int, larger: int | None
) -> None:
    said = advice(gpu(load, memory_reserved_bytes=reserved), Setting(batch, samples))
    assert (said is None) == (larger is None)
    assert larger is None or f"training.batch_size: {larger} " in (said or "")


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"load": 0.51, "idle": 0.49}, ALONE),  # it computes
        ({"load": None, "idle": None}, ALONE),  # not known
        ({"seconds": 9.0, "sampled_seconds": 9.0}, ALONE),  # over too soon
        ({"sampled_seconds": 250.0}, ALONE),  # most of it was not seen
        ({"sampled_seconds": None}, ALONE),
        ({"others": 0.2}, ALONE),  # whose load it was is not known
        (
            {"memory_peak_bytes": 30 * GIB},
            Setting(256, is_whole=True),
        ),  # batches are large, and so is the model
        ({}, Setting()),  # it has trained nothing
        ({}, Setting(batch_size=256)),
    ],
)
def test_nothing_is_said_where_the_figures_do_not_say_so(changes: dict[str, Any], setting: Setting) -> None:
    assert advice(replace(gpu(), **changes), setting) is None


def test_waiting_for_data_comes_first_and_only_where_the_gpu_waits_too() -> None:
    waiting = gpu(0.29, data_share=0.41)
    assert advice(waiting, ALONE) == (
        "the device waited for data 41% of the time; batches of 32 instead of 8 are prepared less often "
        "(training.batch_size)"
    )
    assert advice(gpu(0.9, data_share=0.41), ALONE) is None, "what is prepared meanwhile costs nothing"
    assert "waited for data" in (advice(gpu(None, data_share=0.41), ALONE) or ""), "nobody knows better"
    assert of_data(0.41, 60.0, 8, 6) is None, "its samples are one batch already"
    assert "batches of 20 instead of 8" in (of_data(0.41, 60.0, 8, 20) or "")


def test_memory_that_was_asked_for_and_not_used() -> None:
    figures = gpu(0.9, memory_peak_bytes=GIB + (200 << 20), memory_reserved_bytes=8 * GIB)
    said = advice(figures, Setting(batch_size=8, gpu_memory=8 * GIB)) or ""
    assert said == (
        "it asked for 8.0 GiB of the GPU's memory and used 1.2 GiB at most: resources.gpu_memory: 1536MiB leaves the "
        "rest to other jobs"
    )
    assert gpu_memory("1536MiB") == size_bytes("1536MiB") >= 1.25 * (GIB + (200 << 20)), "a job file takes it"
    assert advice(replace(figures, memory_peak_bytes=4 * GIB), Setting(gpu_memory=8 * GIB)) is None
    assert advice(replace(figures, memory_peak_bytes=None), Setting(gpu_memory=8 * GIB)) is None


def test_a_whole_gpu_that_was_idle_and_all_but_empty_may_be_shared() -> None:
    said = advice(gpu(0.2), Setting(batch_size=512, is_whole=True)) or ""
    assert said == (
        "it had a whole GPU, which was idle 80% of the time, and used 3.0 GiB of its 80.0 GiB: with "
        "resources.gpu_memory: auto other jobs may run beside it"
    )
    assert advice(gpu(0.9), Setting(batch_size=512, is_whole=True)) is None
    assert advice(gpu(0.2), Setting(batch_size=512)) is None, "it has shared it"


def cpu(share: float | None = 0.22, threads: int = 4, seconds: float = 600.0) -> Figures:
    host = (
        None
        if share is None
        else Host(peak_memory_bytes=2 * GIB, cpu_seconds=share * threads * seconds, cpu_threads=threads)
    )
    return figures(kind="cpu", seconds=seconds, host=host)


@pytest.mark.parametrize(("share", "said"), [(0.25, 0.25), (1.0, 1.0), (1.7, 1.0)])
def test_of_its_threads_a_job_computes_with_all_at_most(share: float, said: float) -> None:
    """The libraries' own threads beside them make it more."""
    assert cpu(share).cpu_share == pytest.approx(said)


def test_threads_that_have_little_to_do() -> None:
    assert advice(cpu(), Setting(batch_size=8)) == (
        "its 4 threads computed 22% of their time; the batches of 8 are small for them: training.batch_size: 64 gives "
        "them more to do at once"
    )


@pytest.mark.parametrize("figures", [cpu(0.6), cpu(threads=1), cpu(None), cpu(seconds=9.0)])
def test_and_where_they_have_enough_nothing_is_said(figures: Figures) -> None:
    assert advice(figures, Setting(batch_size=8)) is None


SAMPLED = Sums(
    samples=61,
    seconds=60.0,
    load_seconds=60.0,
    busy_seconds=17.4,
    load_peak_percent=80.0,
    memory_peak_bytes=GIB,
    others_seconds=0.0,
    counter_joules=99.0,
    counted_joules=12_340.0,
)


def test_the_line_of_a_gpu_job() -> None:
    host = Host(peak_memory_bytes=1932735283, cpu_seconds=50.0, cpu_threads=2)
    found = figures(
        kind="gpu", seconds=62.0, sums=SAMPLED, reserved_bytes=8 * GIB, host=host, data_share=0.031
    )
    assert line(found) == (
        "GPU load 29% (idle 71%); GPU memory 1.0 GiB of 8.0 GiB; 12.3 kJ; main memory 1.8 GiB; "
        "3% of the training went into preparing batches"
    )


def test_the_line_says_how_much_was_sampled_and_whose_load_it_was() -> None:
    shared = replace(
        SAMPLED, others_seconds=48.0, counted_joules=None, power_seconds=60.0, power_joules=640.0
    )
    found = figures(kind="gpu", seconds=150.0, sums=shared)
    assert line(found) == (
        "GPU load 29% (idle 71%, also that of others 80% of the time); GPU memory 1.0 GiB; 640 J (by its power); "
        "sampled for 1m of 2m30s"
    )


def test_the_line_of_a_cpu_job_and_of_one_of_which_nothing_is_known() -> None:
    assert line(cpu(0.7, threads=2)) == "its 2 threads computed 70% of the time; main memory 2.0 GiB"
    assert line(figures(kind="cpu", seconds=5.0)) == "" and lines(None) == lines({"line": ""}) == []


def test_what_is_not_known_is_absent_from_the_json() -> None:
    found = told(figures(kind="gpu", seconds=5.0, sums=Sums(samples=3, seconds=2.0)), Setting())
    assert found == {
        "kind": "gpu",
        "seconds": 5.0,
        "sampled_seconds": 2.0,
        "samples": 3,
        "others": 0.0,
        "line": "sampled for 2s of 5s",
        "advice": None,
    }


@pytest.mark.parametrize("said", ["much", None, -1, 2, True, float("nan")])
def test_a_trainers_word_that_cannot_be_so_is_not_shown(said: object) -> None:
    assert figures(kind="cpu", seconds=5.0, data_share=said).data_share is None


def test_energies() -> None:
    assert [energy(one) for one in (0, 640, 12_340, 360_000, 4_500_000)] == [
        "0 J",
        "640 J",
        "12.3 kJ",
        "0.10 kWh",
        "1.25 kWh",
    ]


def test_advice_stands_below_the_line() -> None:
    assert lines({"line": "a", "advice": "b"}) == ["a", "Advice: b."] and lines({"line": "a"}) == ["a"]
