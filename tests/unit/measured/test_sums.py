"""What samples add up to, beside NumPy's integrals of the same made-up readings."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import numpy as np
import pytest

from gpujobs.measured.sums import MAX_GAP_SECONDS, NONE, Sample, Sums, added, read, written


def summed(readings: Iterable[tuple[float, Sample]], sums: Sums = NONE) -> Sums:
    """(instant in seconds, sample), one after the other."""
    before: tuple[float, Sample] | None = None
    for at, sample in readings:
        sums = added(sums, sample, before and before[1], at - before[0] if before else 0.0)
        before = at, sample
    return sums


def test_load_is_the_mean_over_time_and_not_over_readings() -> None:
    """Readings come at no fixed pace; NVML's figure is of the time just passed."""
    chance = random.Random(1)
    instants = np.cumsum([chance.uniform(0.2, 9.0) for _ in range(200)])
    loads = np.array([chance.choice([0, 3, 50, 97, 100]) for _ in range(200)], float)
    found = summed((at, Sample(load_percent=load)) for at, load in zip(instants, loads, strict=True))
    expected = np.average(loads[1:], weights=np.diff(instants)) / 100
    assert found.load == pytest.approx(expected) and found.idle == pytest.approx(1 - expected)
    assert found.seconds == pytest.approx(instants[-1] - instants[0]) and found.load_peak_percent == 100


def test_power_is_integrated_as_numpy_does() -> None:
    chance = random.Random(2)
    instants = np.cumsum([chance.uniform(0.5, 3.0) for _ in range(300)])
    watts = np.array([chance.uniform(60, 700) for _ in range(300)])
    found = summed((at, Sample(power_watts=watt)) for at, watt in zip(instants, watts, strict=True))
    assert found.energy_joules == pytest.approx(np.trapezoid(watts, instants))


def test_the_devices_own_counter_counts_where_it_has_one_also_over_a_gap() -> None:
    pause = MAX_GAP_SECONDS + 1
    readings = [(0.0, 1000.0), (1.0, 1300.0), (1.0 + pause, 9300.0)]
    found = summed((at, Sample(power_watts=300.0, energy_joules=joules)) for at, joules in readings)
    assert found.energy_joules == 8300.0 and found.seconds == 1.0


def test_a_counter_that_begins_anew_with_its_driver_takes_nothing_back() -> None:
    readings = [(0.0, 1000.0), (1.0, 1300.0), (2.0, 20.0), (3.0, 120.0)]
    assert summed((at, Sample(energy_joules=joules)) for at, joules in readings).energy_joules == 400.0


def test_the_energy_of_a_shared_device_is_parted_so_that_the_sum_is_the_devices() -> None:
    alone = [(float(at), Sample(power_watts=300.0, energy_joules=300.0 * at)) for at in range(11)]
    shared = [(at, Sample(one.load_percent, one.power_watts, one.energy_joules, jobs=3)) for at, one in alone]
    whole = summed(alone).energy_joules
    assert whole is not None and summed(shared).energy_joules == pytest.approx(whole / 3)
    assert summed(shared).power_joules == pytest.approx(1000.0) and summed(shared).others_seconds == 10.0
    assert summed(alone).others_seconds == 0.0


def test_what_a_driver_does_not_tell_is_absent_and_not_0() -> None:
    found = summed((float(at), Sample()) for at in range(20))
    assert (found.load, found.idle, found.energy_joules, found.memory_peak_bytes) == (None,) * 4
    assert found.samples == 20 and found.seconds == 19.0


def test_a_value_that_is_told_only_now_and_then_counts_for_the_time_in_which_it_was() -> None:
    loads = [None, 100, None, 0, 50, None]
    found = summed((float(at), Sample(load_percent=load)) for at, load in enumerate(loads))
    assert (found.load, found.load_seconds, found.seconds) == (0.5, 3.0, 5.0)


def test_what_happened_in_a_long_pause_is_not_guessed() -> None:
    pause = MAX_GAP_SECONDS + 1
    readings = [(0.0, 100.0), (1.0, 100.0), (1.0 + pause, 0.0), (2.0 + pause, 100.0)]
    found = summed((at, Sample(load_percent=load)) for at, load in readings)
    assert (found.load, found.seconds) == (1.0, 2.0)


def test_the_peak_is_of_the_jobs_own_process() -> None:
    found = summed((float(at), Sample(memory_bytes=size)) for at, size in enumerate([None, 5, 9, None, 3]))
    assert found.memory_peak_bytes == 9


def test_sums_go_on_from_where_an_earlier_daemon_has_left_them() -> None:
    chance = random.Random(3)
    samples = [
        (float(at), Sample(chance.randrange(101), 100.0, 50.0 * at, chance.randrange(1 << 30)))
        for at in range(100)
    ]
    first, rest = samples[:40], samples[40:]
    stored = json.loads(json.dumps(written(summed(first))))
    whole, parted = summed(samples), summed(rest, read(stored))
    assert parted.energy_joules == pytest.approx(whole.energy_joules), "the counter has gone on"
    assert parted.memory_peak_bytes == whole.memory_peak_bytes and parted.samples == whole.samples
    assert parted.seconds == whole.seconds - 1, "nobody looked between the two"


def test_what_is_kept_does_not_grow() -> None:
    sizes = [
        len(json.dumps(written(summed((float(at), Sample(50.0, 99.0, 3.0 * at, 7)) for at in range(count)))))
        for count in (10, 20_000)
    ]
    assert sizes[1] < sizes[0] + 100


@pytest.mark.parametrize(
    "value", [None, {}, {"seconds": "much"}, {"seconds": True}, {"seconds": float("nan")}]
)
def test_what_is_not_understood_counts_as_not_sampled(value: dict[str, object] | None) -> None:
    assert read(value) == NONE


def test_a_later_version_may_have_written_more() -> None:
    assert read({"samples": 2, "seconds": 1.0, "colour": "red", "shades": [1]}) == Sums(
        samples=2, seconds=1.0
    )
