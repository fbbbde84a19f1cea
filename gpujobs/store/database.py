"""Opening the SQLite file: pragmas, permissions and migrations."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from gpujobs.errors import StoreError
from gpujobs.failpoints import reach

FSYNC_FAILED = ("SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC")

LARGE_BYTES = 256 << 20

HOW_TO_RESTORE = (
    "`gpujobs restore DIR` puts a copy in its place that `gpujobs backup DIR` has made; without one, move it and "
    "its -wal and -shm away: the daemon then begins with an empty list of jobs, and results and numbers stay"
)


class Connection(sqlite3.Connection):
    """`unsynced`: why nothing more is written. After an fsync that failed the kernel takes its pages for written,
    and says so to the next one: what is on disk is known only to who reads it again."""

    unsynced = ""


BUSY_MILLISECONDS = 250
"""The event loop stands still while SQLite waits for somebody else's lock; what fails is tried again later."""


def connect(path: Path) -> sqlite3.Connection:
    """Opens or creates the database, mode 0600, and brings its schema up to date.

    Raises StoreError where the file cannot be opened, is not ours, or is newer than this program.
    """
    try:
        # SQLite gives what it makes beside the database the database's mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}; expected a gpujobs database that can be written"
        ) from error
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10, factory=Connection)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        require_whole(connection, path)
        migrate(connection)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):  # "malformed", "is not a database"
            raise StoreError(f"{path} is damaged: {error}; {HOW_TO_RESTORE}") from error
        raise StoreError(f"{path}: {error}; expected a gpujobs database that can be written") from error
    return connection


def connect_frozen(path: Path) -> sqlite3.Connection:
    """A connection that can write nothing, for any thread, and sees the store as it is now until it is closed.
    Raises StoreError."""
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM jobs LIMIT 1").fetchone()  # only now it is that of a moment
    except sqlite3.Error as error:
        raise StoreError(f"the store cannot be read: {error}") from error
    return connection


def require_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError that says what SQLite has found."""
    if problems := check(connection):
        raise StoreError(f"{path} is damaged: {'; '.join(problems)}; {HOW_TO_RESTORE}")


def check(connection: sqlite3.Connection, most: int = 3) -> list[str]:
    """What is wrong with the database, at most so many problems. Reads all of it; the indexes of a large one,
    which take as long again, are not compared with their tables."""
    try:
        pages, size = (
            connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size")
        )
        pragma = "integrity_check" if pages * size < LARGE_BYTES else "quick_check"
        rows = connection.execute(f"PRAGMA {pragma}({int(most)})").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [" ".join(str(row[0]).split()) for row in rows if row[0] != "ok"]


def migrations() -> list[tuple[int, str]]:
    """(version, SQL) of every migration, in order. The file's number is the version that it makes."""
    folder = resources.files("gpujobs.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [(int(f.name.split("_")[0]), f.read_text()) for f in files]


def migrate(connection: sqlite3.Connection) -> None:
    """Each migration is one transaction, so that a killed daemon leaves whole versions only."""
    (current,) = connection.execute("PRAGMA user_version").fetchone()
    known = migrations()
    if current > known[-1][0]:
        raise StoreError(
            f"the store has schema version {current}, this gpujobs knows {known[-1][0]}; "
            "install the newer gpujobs again"
        )
    for version, script in known:
        if version > current:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, durable when it returns; one inside of another is a part of that.
    Raises StoreError on a full disk and its like."""
    if connection.in_transaction:
        yield connection
        return
    if getattr(connection, "unsynced", ""):
        raise StoreError(connection.unsynced)  # type: ignore[attr-defined]
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        reach("store.commit")
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
            _note_failed_sync(connection, error)
            raise StoreError(f"the store cannot be written: {error}") from error
        raise


def is_locked(error: StoreError) -> bool:
    """Whether somebody else held the store's lock: nothing is wrong, and a later try may succeed."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.OperationalError) and "is locked" in str(cause)


def _note_failed_sync(connection: sqlite3.Connection, error: sqlite3.DatabaseError) -> None:
    if getattr(error, "sqlite_errorname", "") in FSYNC_FAILED and isinstance(connection, Connection):
        connection.unsynced = (
            "the disk has failed to keep what was written to the store (fsync); nothing more is written until the "
            "daemon is started again; look at the disk first (dmesg)"
        )
