"""The socket's name: nobody takes another daemon's, and one that was removed is made again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpujobs.daemon import door
from gpujobs.daemon.door import Door
from gpujobs.errors import MachineError, UsageError
from tests.acceptance.harness import short_directory


@pytest.fixture
def root() -> Iterator[Path]:
    directory = short_directory()
    (directory / "runtime/gpujobs").mkdir(parents=True)
    (directory / "state").mkdir()
    yield directory
    shutil.rmtree(directory)


def door_at(root: Path) -> Door:
    return Door([root / "runtime/gpujobs/s.sock", root / "state/s.sock"], is_open_to_all=False)


def is_reached(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def test_a_socket_that_answers_is_refused_and_goes_on_answering(root: Path) -> None:
    first, second = door_at(root), door_at(root)
    with first.open():
        with pytest.raises(UsageError, match=rf"a daemon \(pid {os.getpid()}\) answers at .*s\.sock already"):
            second.open()
        with pytest.raises(UsageError, match="answers at"):
            second.require_free()
        second.close()
        assert is_reached(root / "runtime/gpujobs/s.sock"), "it was not the second one's to remove"


def test_who_is_too_busy_to_answer_is_there_all_the_same(root: Path) -> None:
    path = root / "runtime/gpujobs/s.sock"
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as stack:
        busy.bind(str(path))
        busy.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(path))
        with pytest.raises(UsageError, match=r"a daemon \(pid unknown\) answers at"):
            door_at(root).open()
        assert path.is_socket()


@pytest.mark.parametrize(
    ("bits", "is_open_to_all", "is_safe"),
    [
        (0o770, False, True),
        (0o777, False, False),
        (0o775, True, False),
        (0o755, True, True),
        (0o1777, True, True),
    ],
)
def test_who_may_exchange_the_socket_of_a_site_is_nobody_and_of_a_person_their_group(
    root: Path, bits: int, is_open_to_all: bool, is_safe: bool
) -> None:
    """Where each user has a group of their own, their umask is 002."""
    place = root / "runtime/gpujobs"
    place.chmod(bits)
    one = Door([place / "s.sock"], is_open_to_all=is_open_to_all)
    if is_safe:
        one.open().close()
        return
    with pytest.raises(MachineError, match="can be changed by others than this daemon's user"):
        one.open()


def test_a_socket_that_nobody_answers_is_replaced(root: Path) -> None:
    door_at(root).open().close()
    second = door_at(root)
    second.require_free()
    with second.open():
        assert is_reached(root / "runtime/gpujobs/s.sock")


def test_a_directory_that_cannot_be_written_is_named_before_anything_is_started(root: Path) -> None:
    place = root / "closed"
    root.chmod(0o755)
    place.mkdir(mode=0o755)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setresuid(65534, 65534, 65534)
            Door([place / "s.sock"], is_open_to_all=False).require_free()
        except MachineError as error:
            code = 0 if f"{place} cannot be written" in error.message else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_directory_that_is_not_there_yet_is_free(root: Path) -> None:
    one = Door([root / "new/s.sock"], is_open_to_all=False)
    one.require_free()
    one.open().close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be another user")
def test_a_socket_may_be_in_a_directory_of_the_machines(root: Path) -> None:
    """As /tmp is, where nobody but its owner renames a name."""
    root.chmod(0o1777)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setresuid(65534, 65534, 65534)
            Door([root / "s.sock"], is_open_to_all=False).open().close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_no_socket_is_not_removed(root: Path) -> None:
    path = root / "runtime/gpujobs/s.sock"
    path.write_text("precious")
    with pytest.raises(MachineError, match="is there and is no socket"):
        door_at(root).open()
    assert path.read_text() == "precious"


def test_only_its_own_socket_is_removed_at_the_end(root: Path) -> None:
    path = root / "runtime/gpujobs/s.sock"
    first = door_at(root)
    with first.open():
        path.unlink()
        with door_at(root).open():
            first.close()
            assert is_reached(path)


def test_of_two_that_find_a_dead_socket_one_gets_it(root: Path) -> None:
    door_at(root).open().close()
    listeners: list[socket.socket] = []
    refused: list[UsageError] = []

    def start() -> None:
        try:
            listeners.append(door_at(root).open())
        except UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(listeners), len(refused)) == (1, 7)
    assert is_reached(root / "runtime/gpujobs/s.sock")
    listeners[0].close()


def kept(root: Path, harm: Callable[[], object], found: Path) -> None:
    """A kept door is reached at `found` soon after the harm."""

    async def run() -> None:
        one, served = door_at(root), list[socket.socket]()

        async def serve(listener: socket.socket) -> None:
            for before in served:
                before.close()
            served.append(listener)

        await serve(one.open())
        keeper = asyncio.create_task(one.keep(serve))
        await asyncio.sleep(0.05)  # until it watches
        harm()
        async with asyncio.timeout(10):
            while not is_reached(found):
                await asyncio.sleep(0.01)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        one.close()
        served[-1].close()
        assert not found.exists()

    asyncio.run(run())


def test_a_socket_that_was_removed_is_made_again(root: Path) -> None:
    path = root / "runtime/gpujobs/s.sock"
    kept(root, path.unlink, path)


def test_a_socket_that_was_moved_is_made_again(root: Path) -> None:
    path = root / "runtime/gpujobs/s.sock"
    kept(root, lambda: path.rename(root / "elsewhere"), path)


def test_a_runtime_directory_that_was_removed_is_made_again(root: Path) -> None:
    kept(root, lambda: shutil.rmtree(root / "runtime"), root / "runtime/gpujobs/s.sock")


def test_a_directory_above_that_was_moved_is_noticed(root: Path) -> None:
    kept(root, lambda: (root / "runtime").rename(root / "other"), root / "runtime/gpujobs/s.sock")


def no_directory(root: Path) -> None:
    """As when a user has logged out: only root makes it again."""
    shutil.rmtree(root / "runtime")
    (root / "runtime").write_text("")


def test_where_the_directory_cannot_be_made_it_listens_in_its_state(root: Path) -> None:
    kept(root, lambda: no_directory(root), root / "state/s.sock")


def test_it_goes_back_when_the_directory_is_there_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "RETRY_SECONDS", 0.05)

    def harm() -> None:
        no_directory(root)
        asyncio.get_running_loop().call_later(0.3, (root / "runtime").unlink)

    kept(root, harm, root / "runtime/gpujobs/s.sock")
    assert not (root / "state/s.sock").exists()


def test_another_daemons_socket_in_its_place_is_left_alone(root: Path) -> None:
    path = root / "runtime/gpujobs/s.sock"
    others: list[socket.socket] = []

    def harm() -> None:
        path.unlink()
        others.append(door_at(root).open())

    kept(root, harm, root / "state/s.sock")
    assert is_reached(path)
    others[0].close()
