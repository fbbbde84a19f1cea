"""What is said of a name that cannot be a job's."""

from __future__ import annotations

import pytest

from gpujobs.daemon.jobs.submissions import _require_name
from gpujobs.errors import UsageError


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("\u5b66\u7fd2/\u4e00", "--name '\u5b66\u7fd2/\u4e00': expected"),
        ("\u5b66\u7fd2\u200d", "--name '\u5b66\u7fd2\\u200d' with the unprintable U+200D: expected"),
        ("a\x1b[31m", "--name 'a\\x1b[31m' with the unprintable U+001B: expected"),
        ("x" * 101, "--name of 101 characters: expected"),
    ],
)
def test_a_refused_name_is_shown_in_its_own_letters_and_with_what_is_wrong(name: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        _require_name(name)
    assert said in str(refused.value)
