"""Which modules get faults, and which tests belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

PACKAGE = "gpujobs"
TESTS = Path("tests")
STAGES = ("unit", "integration", "acceptance")
"""Folders of tests: what is quick comes first."""


class Part(NamedTuple):
    """By patterns, of which `*` also stands for folders, so that a module may move to another package."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = (
    Part(
        "policy",
        ("*/policy/*",),
        (
            "unit/policy/*",
            "unit/simulation/*",
            "unit/daemon/test_dispatch.py",
            "unit/daemon/test_starts.py",
            "unit/daemon/test_memory.py",
            "unit/daemon/test_what_is_told.py",
        ),
    ),
    Part(
        "lifecycle",
        ("*/lifecycle.py",),
        ("unit/test_lifecycle.py", "unit/test_what_follows.py", "unit/store/*", "*/test_endings.py"),
    ),
    Part(
        "store",
        ("*/store/*",),
        (
            "unit/store/*",
            "unit/daemon/test_cache.py",
            "unit/daemon/test_changes.py",
            "unit/daemon/test_choosing.py",
            "unit/daemon/test_lists.py",
            "unit/daemon/test_news_rules.py",
            "unit/daemon/test_queue.py",
            "unit/daemon/test_report.py",
            "unit/daemon/test_timeline.py",
            "unit/daemon/test_uploads.py",
            "unit/daemon/test_what_is_told.py",
            "unit/daemon/test_rights_of_requests.py",
            "*/test_requeue.py",
            "*/test_races.py",
            "integration/test_backup.py",
            "integration/test_retention.py",
        ),
    ),
    Part(
        "nvml",
        ("*/nvml/*",),
        ("integration/test_nvml*", "integration/test_probe.py", "acceptance/test_gpus.py"),
    ),
    Part(
        "data",
        ("*/trainer/data/*",),
        (
            "unit/trainer/*",
            "integration/trainer/test_data*",
            "integration/trainer/test_tables*",
            "integration/trainer/test_window*",
            "integration/trainer/test_check.py",
            "integration/trainer/test_training_features.py",
            "integration/trainer/test_reference.py",
        ),
    ),
    Part(
        "evaluation",
        ("*/evaluation.py", "*/decision.py", "*/counting.py", "*/means.py"),
        (
            "unit/trainer/*",
            "integration/trainer/test_what_counts.py",
            "integration/trainer/test_decisions.py",
            "integration/trainer/test_counting.py",
            "integration/trainer/test_data_in_training.py",
            "integration/trainer/test_tables_in_training.py",
        ),
    ),
    Part(
        "training",
        ("*/training_loop.py", "*/early_stopping.py", "*/stateful.py", "*/pace.py", "*/trainer/warming.py"),
        (
            "unit/trainer/test_*",
            "integration/trainer/test_fitting.py",
            "integration/trainer/test_training_features.py",
            "integration/trainer/test_resume.py",
            "integration/trainer/test_what_counts.py",
            "integration/trainer/test_reference.py",
            "integration/trainer/test_data_in_training.py",
            "integration/trainer/test_supervisor.py",
        ),
    ),
    Part(
        "checkpoint",
        ("*/checkpoint*.py", "*/durable.py"),
        (
            "unit/test_durable.py",
            "*/test_checkpoint*",
            "integration/test_damage.py",
            "integration/trainer/test_supervisor_ends.py",
            "integration/trainer/test_resume.py",
            "integration/trainer/test_fitting.py",
        ),
    ),
    Part(
        "supervisor",
        (
            "*/supervisor.py",
            "*/supervision.py",
            "*/attempt_log.py",
            "*/attempt_records.py",
            "*/resident.py",
            "*/ending.py",
            "*/verdict.py",
            "*/protocol/training.py",
            "*/cgroup.py",
        ),
        (
            "unit/trainer/test_*",
            "unit/protocol/*",
            "unit/test_verdicts.py",
            "integration/test_unrecorded.py",
            "integration/trainer/test_supervis*",
            "integration/trainer/test_residents.py",
            "integration/trainer/test_resume.py",
            "integration/trainer/test_attempts.py",
            "integration/trainer/test_launcher.py",
            "acceptance/test_endings.py",
            "acceptance/test_stop.py",
        ),
    ),
    Part(
        "child",
        ("*/child.py", "*/process.py"),
        (
            "unit/test_processes.py",
            "integration/trainer/test_child.py",
            "integration/trainer/test_launcher.py",
            "integration/trainer/test_residents.py",
            "integration/trainer/test_supervis*",
            "acceptance/test_hostile_user.py",
        ),
    ),
    Part(
        "supervise",
        ("*/supervise/*",),
        (
            "unit/test_comparing.py",
            "unit/test_verdicts.py",
            "integration/test_delivery.py",
            "integration/test_news.py",
            "integration/trainer/test_check.py",
            "integration/trainer/test_child.py",
            "integration/trainer/test_launcher.py",
            "integration/trainer/test_residents.py",
            "integration/trainer/test_supervis*",
        ),
    ),
    Part(
        "residents",
        ("*/residents.py", "*/trainer/kept.py", "*/trainer/traced.py"),
        (
            "unit/trainer/test_*",
            "integration/test_resident_choice.py",
            "integration/trainer/test_kept.py",
            "integration/trainer/test_residents.py",
            "acceptance/test_residents.py",
        ),
    ),
    Part(
        "node",
        ("*/node/*",),
        (
            "unit/test_following_supervisors.py",
            "unit/test_unheard.py",
            "integration/test_arrivals.py",
            "integration/test_following.py",
            "integration/test_hanging.py",
            "integration/test_launchers*",
            "integration/test_leaving_a_box.py",
            "integration/test_pieces_between_boxes.py",
            "integration/test_probe.py",
            "integration/test_unrecorded.py",
            "integration/test_upgrades.py",
            "integration/test_what_a_node_keeps.py",
        ),
    ),
    Part(
        "cluster",
        ("*/cluster/*",),
        (
            "unit/cluster/*",
            "unit/daemon/test_gate.py",
            "integration/test_away.py",
            "integration/test_following.py",
            "integration/test_hanging.py",
            "integration/test_join*",
            "integration/test_launchers*",
            "integration/test_leaving_a_box.py",
            "integration/test_leftovers.py",
            "integration/test_node_doctor.py",
            "integration/test_pieces_between_boxes.py",
            "integration/test_shut_out.py",
            "integration/test_tls_of_joining.py",
        ),
    ),
)


def part_of(module: str) -> Part:
    """Raises StopIteration where it is of none."""
    return next(part for part in PARTS if _is_of(part, module))


def _is_of(part: Part, module: str) -> bool:
    return any(fnmatch(module, glob) for glob in part.modules)


def modules(root: Path, only: str | None) -> Iterator[str]:
    """Those of the parts, by their paths inside of `root`, in order. `only`: a pattern, or a part's name."""
    for path in sorted((root / PACKAGE).rglob("*.py")):
        module = path.relative_to(root).as_posix()
        if not any(_is_of(part, module) for part in PARTS):
            continue
        if only is None or only == part_of(module).name or fnmatch(module, only):
            yield module


def files_of(root: Path, module: str) -> list[str]:
    """The test files that belong to a module, quick ones first."""
    part = part_of(module)
    return [
        path.relative_to(root).as_posix()
        for stage in STAGES
        for path in sorted((root / TESTS / stage).rglob("test_*.py"))
        if any(fnmatch(path.relative_to(root / TESTS).as_posix(), glob) for glob in part.tests)
    ]
