"""Who is let in at the door, by what was written of token files and of boxes that were shut out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gpujobs.cluster import passes
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.passes import Passes, Shown, ShutOut, Token, User, obstacle
from gpujobs.errors import NotFoundError
from gpujobs.model import utc_now
from gpujobs.protocol.codec import instant

NOW = utc_now()


def at(hours: float) -> str:
    return instant(NOW + timedelta(hours=hours))


TOKEN = Token(id="ab12" * 8, made_at=at(-9))
OF_TOKEN = Shown(name="token", box="", token=TOKEN.id, issued_at=at(-9))
OF_BOX = Shown(name="box2", box="id2", token=TOKEN.id, issued_at=at(-5))
BOX2, BOX3 = User("box2", "id2"), User("box3", "id3")


@pytest.mark.parametrize(
    ("known", "shown", "box", "why"),
    [
        (Passes(), OF_TOKEN, "id2", None),
        (Passes((TOKEN,)), OF_TOKEN, "id2", None),
        (Passes(), OF_BOX, "id2", None),
        (Passes(), OF_BOX, "id3", "it shows the certificate of another box (box2)"),
        # Token files: revoked, over, for one box.
        (Passes((Token(id=TOKEN.id, made_at=at(-9), revoked_at=at(-1)),)), OF_TOKEN, "id2", "was revoked at"),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), until=at(-1)),)), OF_TOKEN, "id2", "was for joining until"),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), until=at(1)),)), OF_TOKEN, "id2", None),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), once=True),)), OF_TOKEN, "id2", None),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), once=True, used_by=(BOX2,)),)), OF_TOKEN, "id2", None),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), once=True, used_by=(BOX3,)),)), OF_TOKEN, "id2",
         "was for one box, and box3 has joined with it"),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), used_by=(BOX3,)),)), OF_TOKEN, "id2", None),
        (Passes((Token(id="other", made_at=at(-9), revoked_at=at(-1)),)), OF_TOKEN, "id2", None),
        # Certificates that were asked for with a token file which was revoked: of boxes that belong here they count.
        (Passes((Token(id=TOKEN.id, made_at=at(-9), revoked_at=at(-1)),)), OF_BOX, "id2", None),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), revoked_at=at(-1)),)),
         Shown(name="box9", box="id9", token=TOKEN.id, issued_at=at(-5)), "id9", "is of a token file that was revoked"),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), until=at(-1)),)), OF_BOX, "id2", None),
        # Boxes that were shut out: certificates of before, by id; by name where no id is known.
        (Passes(boxes=(ShutOut("box2", "id2", at(-1)),)), OF_BOX, "id2", "the certificate of box2 was revoked"),
        (Passes(boxes=(ShutOut("box2", "id2", at(-6)),)), OF_BOX, "id2", None),
        (Passes(boxes=(ShutOut("box2", "id2", at(-5)),)), OF_BOX, "id2", "the certificate of box2 was revoked"),
        (Passes(boxes=(ShutOut("box2", "id7", at(-1)),)), OF_BOX, "id2", None),
        (Passes(boxes=(ShutOut("box2", "", at(-1)),)), OF_BOX, "id2", "the certificate of box2 was revoked"),
        (Passes(boxes=(ShutOut("box3", "", at(-1)),)), OF_BOX, "id2", None),
        (Passes(boxes=(ShutOut("token", "", at(-1)),)), OF_TOKEN, "id2", None),
        (Passes((Token(id=TOKEN.id, made_at=at(-9), revoked_at=at(-6)),), (ShutOut("box2", "id2", at(-6)),)),
         OF_BOX, "id2", "the certificate of box2 was revoked"),
    ],
)  # fmt: skip
def test_what_keeps_a_box_out(known: Passes, shown: Shown, box: str, why: str | None) -> None:
    """box2 belongs to the cluster."""
    found = obstacle(known, shown, box, lambda: {"id2"})
    assert (found is None) if why is None else (why in (found or ""))


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    found = TlsFiles(tmp_path / "tls")
    found.root.mkdir(mode=0o700)
    return found


def test_who_is_let_in_is_noted_once_and_the_second_with_a_file_for_one_is_not(files: TlsFiles) -> None:
    passes.add_token(files, Token(id=TOKEN.id, made_at=at(-9), once=True))
    assert [passes.use(files, OF_TOKEN, user, set) for user in (BOX2, BOX2)] == [None, None]
    assert "has joined with it" in (passes.use(files, OF_TOKEN, BOX3, set) or "")
    (token,) = passes.known(files).tokens
    assert token.used_by == (BOX2,)
    assert passes.path_of(files).stat().st_mode & 0o777 == 0o600


def test_a_box_that_is_shut_out_takes_its_token_file_with_it(files: TlsFiles) -> None:
    for one in (TOKEN, Token(id="cd34" * 8, made_at=at(-8))):
        passes.add_token(files, one)
    passes.use(files, OF_TOKEN, BOX2, set)
    assert [one.id for one in passes.shut_out(files, "box2", None)] == [TOKEN.id]
    known = passes.known(files)
    assert [(one.name, one.id) for one in known.boxes] == [("box2", "id2")]
    assert [one.revoked_at is None for one in known.tokens] == [True, False]
    assert "was revoked" in (obstacle(known, OF_TOKEN, "id2", set) or "")
    assert "was revoked" in (obstacle(known, OF_BOX, "id2", lambda: {"id2"}) or "")
    with pytest.raises(NotFoundError, match="box9 is no box that has joined here"):
        passes.shut_out(files, "box9", None)


def test_a_token_file_is_named_by_digits_that_are_its_own_alone(files: TlsFiles) -> None:
    for digits in ("ab12", "ab34"):
        passes.add_token(files, Token(id=digits * 8, made_at=at(-9)))
    for named in ("", "ab", "ff"):
        with pytest.raises(NotFoundError, match="names no token file, or several"):
            passes.revoke_token(files, named)
    first = passes.revoke_token(files, "AB1")
    assert first.revoked_at is not None and passes.revoke_token(files, "ab1") == first
    assert [one.revoked_at for one in passes.known(files).tokens if one.id == "ab34" * 8] == [None]
