"""Every file of tests/hostile is refused, with exactly the problems that its `.expected` lists."""

from pathlib import Path

import pytest

from gpujobs.errors import JobFileError
from gpujobs.jobfile import expand

HOSTILE = Path(__file__).parents[2] / "hostile"
FILES = sorted(path for path in HOSTILE.iterdir() if path.suffix in (".yaml", ".toml", ".json"))


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 40


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_refused_with_message_and_line(file: Path) -> None:
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    with pytest.raises(JobFileError) as caught:
        expand(file.name, text)
    expected = file.with_name(file.name + ".expected").read_text(encoding="utf-8")
    assert str(caught.value) + "\n" == expected


def test_every_expectation_has_its_file() -> None:
    expected = {path.name.removesuffix(".expected") for path in HOSTILE.glob("*.expected")}
    assert expected == {path.name for path in FILES}
