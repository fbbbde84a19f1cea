"""Ten bugs, planted one at a time into a copy of the program: the cases that should find them do, or do not."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from .box import ROOT
from .running import Runner


@dataclass(frozen=True)
class Bug:
    """`changes`: (text that one file of the program has, what it becomes). `cases`: names of those that find it."""

    name: str
    changes: tuple[tuple[str, str], ...]
    cases: tuple[str, ...]


BUGS = (
    Bug(
        "the end of an attempt is dropped when its commit fails",
        (
            (
                '        if not self.again.do(job, "that its attempt has ended", commit):\n'
                "            self._cache.release(job, attempt)\n",
                "        try:\n            commit()\n        except Exception:\n            pass\n",
            ),
        ),
        ("attempts.exited.commit, error once, fresh",),
    ),
    Bug(
        "results that are there are taken for the job's by its number",
        (("            if self._is_of(target, job.current.nonce):\n", "            if True:\n"),),
        ("results in the place of a job's",),
    ),
    Bug(
        "a claim is not exclusive",
        (
            (
                '        durable.create(paths.claim, b"supervisor", durable=False)\n',
                '        durable.write(paths.claim, b"supervisor")\n',
            ),
        ),
        ("a supervisor that begins late",),
    ),
    Bug(
        "a signal is sent to whoever has the pid",
        (("        if not is_alive(process, boot):\n            return False\n", ""),),
        ("a process with the pid of a trainer", "a process with the pid of a supervisor, at a cancel"),
    ),
    Bug(
        "what another attempt of the same number has left is believed",
        (
            (
                "        return value if value is None or value.nonce == self.nonce else None\n",
                "        return value\n",
            ),
            ("    if spec is None or spec.nonce == attempt.nonce:\n", "    if True:\n"),
            (
                "        if os.path.lexists(path) and not (expected and _is_directory(path)):\n",
                "        if os.path.lexists(path) and not _is_directory(path):\n",
            ),
            ("    attempt.root.mkdir(mode=0o700)\n", "    attempt.root.mkdir(mode=0o700, exist_ok=True)\n"),
            (
                "            number = max(current.attempt, self.attempt_found(job)) + 1\n",
                "            number = current.attempt + 1\n",
            ),
        ),
        ("an attempt that has ended in the place of a job's",),
    ),
    Bug(
        "a job whose start was not acknowledged is queued again while it lives",
        (
            (
                '            log.warning("job %d: the start was not acknowledged: %s", job.id, error)\n'
                "            self._inquiries.begin(job, 1.0)\n",
                '            self._endings.send_back(job, Requeue(Reason.RETRY, f"unheard: {error}", False))\n',
            ),
        ),
        ("a start that nobody acknowledges",),
    ),
    Bug(
        "results are collected in their place, and believed when they are there",
        (
            (
                '        staging = self._paths.results / f".staging-{job.id}-{job.attempt}"\n'
                "        await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)\n",
                "        staging = target\n",
            ),
            ("            if self._is_of(target, job.current.nonce):\n", "            if target.is_dir():\n"),
        ),
        ("collect.write, killed, fresh", "collect.rename, killed, fresh"),
    ),
    Bug(
        "retries are not counted",
        (("retries_used=current.retries_used + step.uses_retry", "retries_used=current.retries_used"),),
        ("a job that always crashes",),
    ),
    Bug(
        "numbers are given by the store alone",
        (("        if number <= self.highest_number():\n            return\n", "        return\n"),),
        ("files, all ended",),
    ),
    Bug(
        "a file that cannot be read ends the look at an attempt",
        (
            (
                "        except (DamagedError, ShapeError) as damage:\n"
                '            why = damage.why if isinstance(damage, DamagedError) else f"makes no sense: {damage}"\n',
                "        except (DamagedError, ShapeError) as damage:\n            raise\n"
                '            why = damage.why if isinstance(damage, DamagedError) else f"makes no sense: {damage}"\n',
            ),
        ),
        ("record.json empty",),
    ),
)


def prove(boxes: int) -> int:
    """0 where each bug is found."""
    from .__main__ import every_case

    names = {name for bug in BUGS for name in bug.cases}
    healthy = Runner(ROOT, boxes, is_quiet=True).run([case for case in every_case() if case.name in names])
    if unwell := [f"{one.case.title}: {one.message}" for one in healthy if one.kind]:
        print("fails without any planted bug: " + "; ".join(unwell))
        return 1
    print(f"without a planted bug, {len(healthy)} cases pass")
    missed = 0
    for bug in BUGS:
        began = time.monotonic()
        found, said = is_found(bug, boxes)
        missed += not found
        word = "found" if found else "NOT FOUND"
        print(f"{word:10}{time.monotonic() - began:6.1f} s  {bug.name}\n{'':20}{said[:300]}", flush=True)
    print(f"{len(BUGS) - missed} of {len(BUGS)} found")
    return int(missed > 0)


def is_found(bug: Bug, boxes: int) -> tuple[bool, str]:
    """Whether a case fails, and what it says."""
    from .__main__ import every_case

    cases = [case for case in every_case() if any(fnmatch(case.name, name) for name in bug.cases)]
    with tempfile.TemporaryDirectory(prefix="gf-tree-") as name:
        tree = Path(name)
        shutil.copytree(ROOT / "gpujobs", tree / "gpujobs", ignore=shutil.ignore_patterns("__pycache__"))
        for old, new in bug.changes:
            plant(tree, old, new)
        outcomes = Runner(tree, boxes, is_quiet=True).run(cases)
    bad = [one for one in outcomes if one.kind in ("lost", "doubled", "wrong")]
    if not bad:
        return False, f"{len(cases)} cases passed: {', '.join(case.name for case in cases)}"
    return True, f"by {bad[0].case.title}: {bad[0].message}"


def plant(tree: Path, old: str, new: str) -> Path:
    """Exactly one file has the text, wherever it lies; and what the bug uses of its object, that file knows: else it
    would fail by itself, and show nothing. Returns the file."""
    having = [path for path in (tree / "gpujobs").rglob("*.py") if old in path.read_text()]
    if len(having) != 1:
        raise SystemExit(f"{len(having)} files have what a bug is planted into; expected one:\n{old}")
    unknown = set(re.findall(r"self\.\w+", new)) - set(re.findall(r"self\.\w+", having[0].read_text()))
    if unknown:
        raise SystemExit(f"{having[0].name} has no {', '.join(sorted(unknown))}, which a bug uses:\n{new}")
    having[0].write_text(having[0].read_text().replace(old, new))
    return having[0]
