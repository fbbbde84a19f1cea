"""What a process has said last, in a log to which those before it have written too."""

from __future__ import annotations

from pathlib import Path

from gpujobs.linux import logs


def test_only_what_was_written_since_counts(tmp_path: Path) -> None:
    log = tmp_path / "head.log"
    assert logs.last_line(log, 0) == "" and logs.size_of(log) == 0
    log.write_text("of the one before\n")
    began = logs.size_of(log)
    assert logs.last_line(log, began) == "" and logs.last_line(log, 0) == "of the one before"
    with log.open("a") as file:
        file.write("x" * 5000 + "\nwhy\n\n")
    assert logs.last_line(log, began) == "why"


def test_a_log_that_has_begun_anew_meanwhile_has_the_words_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "head.log"
    log.write_text("of the one before\n" * 100)
    began = logs.size_of(log)
    logs.limit([log], 10)
    with log.open("a") as file:
        file.write("why\n")
    assert logs.last_line(log, began) == "why"
