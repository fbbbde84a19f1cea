"""Writes the data of the sample jobs, beside this file. Everything follows from its seeds.

Run it as `python jobs/data/make_samples.py [DIRECTORY]`; the files that it writes are in the repository.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


def adding(directory: Path) -> None:
    """The adding problem (Hochreiter and Schmidhuber, 1997): of 24 random numbers two are marked; the target is
    their sum. x (900, 24, 2): the number and the mark."""
    random = np.random.default_rng(1)
    samples, steps = 900, 24
    x = np.zeros((samples, steps, 2), np.float32)
    x[:, :, 0] = random.random((samples, steps)).round(4)
    for row in x:
        row[random.choice(steps, 2, replace=False), 1] = 1.0
    np.savez_compressed(directory / "adding.npz", x=x, y=(x[:, :, 0] * x[:, :, 1]).sum(axis=1))


def prices(directory: Path) -> None:
    """Daily closing prices of three made-up shares: returns swing with a slow cycle that a state can follow."""
    random = np.random.default_rng(2)
    rows = []
    first = np.datetime64("2020-01-01")
    for share, (price, period) in {"ALPHA": (100.0, 40), "BETA": (60.0, 55), "GAMMA": (250.0, 70)}.items():
        for day in range(1500):
            price *= 1 + 0.012 * np.sin(2 * np.pi * day / period) + random.normal(0, 0.002)
            rows.append((first + day, share, f"{price:.2f}"))
    write(directory / "prices.csv", ("date", "share", "price"), rows)


def load(directory: Path) -> None:
    """Hourly electric load of two sites: a daily and a weekly season, the temperature, and noise. Some hours are
    missing."""
    random = np.random.default_rng(3)
    rows: list[Sequence[Any]] = []
    first = np.datetime64("2025-03-01T00", "h")
    for site, base in (("north", 60.0), ("south", 80.0)):
        weather = 0.0
        for hour in range(24 * 7 * 10):
            weather = 0.98 * weather + random.normal(0, 0.6)
            temperature = 12 + 6 * np.sin(2 * np.pi * (hour - 9) / 24) + weather
            weekend = (hour // 24) % 7 >= 5
            value = base + 18 * np.sin(2 * np.pi * (hour - 8) / 24) - 12 * weekend - 1.5 * weather
            value += random.normal(0, 1.0)
            when = first + np.timedelta64(hour, "h")
            shown = "" if random.random() < 0.002 else f"{value:.2f}"
            rows.append((when, site, shown, f"{temperature:.2f}", int(weekend), hour % 24))
    write(directory / "load.csv", ("time", "site", "load", "temperature", "weekend", "hour"), rows)


def gestures(directory: Path) -> None:
    """Movements of a hand, 12 to 60 steps long: circles, waves and strokes, with noise and at any speed."""
    random = np.random.default_rng(4)
    rows: list[Sequence[Any]] = []
    for number in range(240):
        kind = ("circle", "wave", "stroke")[number % 3]
        steps = int(random.integers(12, 61))
        at = np.linspace(0, 1, steps) * 2 * np.pi
        phase, size = random.uniform(0, 2 * np.pi), random.uniform(0.6, 1.4)
        paths = {
            "circle": (np.cos(at + phase), np.sin(at + phase)),
            "wave": (at / np.pi - 1, np.sin(2 * at + phase)),
            "stroke": (at / np.pi - 1, (at / np.pi - 1) * np.sin(phase)),
        }
        x, y = (size * np.asarray(path) + random.normal(0, 0.25, steps) for path in paths[kind])
        rows += [(f"g{number:03}", step, f"{x[step]:.3f}", f"{y[step]:.3f}", kind) for step in range(steps)]
    write(directory / "gestures.csv", ("gesture", "step", "x", "y", "kind"), rows)


def tokens(directory: Path) -> None:
    """Sentences of 4 to 20 token ids from 1 to 49. Class 1: somewhere a token below 10 is followed at once by one
    above 40."""
    random = np.random.default_rng(5)
    sentences, labels = [], []
    for number in range(1200):
        words = random.integers(1, 50, int(random.integers(4, 21)))
        if number % 2:
            at = int(random.integers(0, len(words) - 1))
            words[at : at + 2] = random.integers(1, 10), random.integers(41, 50)
        sentences.append(words)
        labels.append(int(any(a < 10 and b > 40 for a, b in pairwise(words))))
    lengths = np.array([len(words) for words in sentences])
    np.savez_compressed(
        directory / "tokens.npz",
        tokens=np.concatenate(sentences).astype(np.int32),
        lengths=lengths,
        label=labels,
    )


def machine(directory: Path) -> None:
    """A machine's vibration and current, 60 steps each, and for each step whether it idles, works or is stuck."""
    random = np.random.default_rng(6)
    samples, steps = 160, 60
    x = np.zeros((samples, steps, 2), np.float32)
    y = np.zeros((samples, steps), np.int64)
    for sample in range(samples):
        state = 0
        for step in range(steps):
            if random.random() < 0.08:
                state = int(random.integers(0, 3))
            y[sample, step] = state
            swing = np.sin(step * (0.4, 1.3, 2.6)[state])
            x[sample, step] = swing * (0.2, 1.0, 1.0)[state], (0.1, 0.6, 0.9)[state]
    x += random.normal(0, 0.25, x.shape).astype(np.float32)
    np.savez_compressed(directory / "machine.npz", x=x.round(3), y=y)


def patients(directory: Path) -> None:
    """A course of 16 measurements and three facts about the patient; two things to predict: the next value, and
    whether it is above 0.3."""
    random = np.random.default_rng(7)
    samples, steps = 600, 16
    facts = random.normal(0, 1, (samples, 3)).astype(np.float32)
    phase = random.uniform(0, 2 * np.pi, (samples, 1))
    course = (
        np.sin(np.arange(steps + 1) * 0.5 + phase)
        + 0.5 * facts[:, :1]
        + random.normal(0, 0.1, (samples, steps + 1))
    )
    np.savez_compressed(
        directory / "patients.npz",
        course=course[:, :-1, None].astype(np.float32),
        facts=facts,
        next=course[:, -1:].astype(np.float32),
        high=(course[:, -1] > 0.3).astype(np.int64),
    )


def write(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for make in (adding, prices, load, gestures, tokens, machine, patients):
        make(directory)


if __name__ == "__main__":
    main()
