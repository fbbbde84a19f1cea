"""Opening the SQLite file: pragmas, permissions and migrations."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from gpujobs.errors import StoreError

BUSY_MILLISECONDS = 250
"""The event loop stands still while SQLite waits for somebody else's lock; what fails is tried again later."""


def connect(path: Path) -> sqlite3.Connection:
    """Opens or creates the database, mode 0600, and brings its schema up to date.

    Raises StoreError where the file cannot be opened, is not ours, or is newer than this program.
    """
    previous = os.umask(0o077)
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}; expected a gpujobs database that can be written") from error
    finally:
        os.umask(previous)
    return connection


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
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise StoreError(f"the store cannot be written: {error}") from error
        raise
