"""A cache's SQLite file: how it is opened, what is in it, and what happens when it turns out to be damaged.

    link = Link(path, synchronous="normal", busy_timeout=5.0)       # one for each thread
    outcomes = link.transaction("BEGIN IMMEDIATE", [job, job])      # job(connection) -> value

The one surprise: a connection does not notice that its file was moved or deleted and writes on into nothing. So each
transaction first compares what lies at the path with what was opened.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ._lane import Outcome

Job: TypeAlias = Callable[[sqlite3.Connection], Any]

_log = logging.getLogger(__name__)

_APPLICATION = 0x6C6D6E61
"""Marks the file as ours, so that a wrong path never makes us write into another program's database."""

_VERSION = 1
"""Of the tables. Rows have a version of their own in their checksum."""

# `rank` grows with every row, replaced ones too, so it is the order in which entries were stored. The triggers keep
# the totals right whatever statement adds or removes rows; REPLACE fires them because of `recursive_triggers`.
_TABLES = (
    """CREATE TABLE entries (
        rank INTEGER PRIMARY KEY, namespace BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
        checksum INTEGER NOT NULL, stored_at REAL NOT NULL, fresh_until REAL NOT NULL, expires_at REAL NOT NULL,
        UNIQUE (namespace, key))""",
    "CREATE INDEX expiries ON entries (expires_at)",
    "CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
    """CREATE TRIGGER added AFTER INSERT ON entries BEGIN
        UPDATE totals SET entries = entries + 1, bytes = bytes + length(NEW.value); END""",
    """CREATE TRIGGER removed AFTER DELETE ON entries BEGIN
        UPDATE totals SET entries = entries - 1, bytes = bytes - length(OLD.value); END""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)

_SYNCHRONOUS = {"off": "OFF", "normal": "NORMAL", "full": "FULL"}
SYNCHRONOUS = tuple(_SYNCHRONOUS)


class Link:
    """One thread's connection to the file, made when it is needed and made anew when the file was replaced."""

    def __init__(self, path: Path, *, synchronous: str, busy_timeout: float) -> None:
        self._path = path
        self._synchronous = _SYNCHRONOUS[synchronous]
        self._busy_timeout = busy_timeout
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def transaction(self, begin: str, jobs: Sequence[Job]) -> Sequence[Outcome]:
        """Do all *jobs* in one transaction or none: what each returned, or the one error for each of them.

        A damaged file is set aside and the jobs are done on a new, empty one.
        """
        for may_set_aside in (True, False):
            try:
                connection = self._connect()
                connection.execute(begin)
                outcomes = [Outcome(job(connection)) for job in jobs]
                connection.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                failure = error
                self._roll_back()
                if not (may_set_aside and _is_damage(error)):
                    break
                try:
                    self._set_aside(error)
                except OSError as refusal:
                    failure = refusal
                    break
            else:
                return outcomes
        return [Outcome(error=failure)] * len(jobs)

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            if _identity_of(self._path) == self._identity:
                return self._connection
            self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self._path.exists()
        self._connection = sqlite3.connect(self._path, timeout=self._busy_timeout, isolation_level=None)
        self._identity = _identity_of(self._path)
        if is_new:
            self._path.chmod(0o600)  # answers are nobody else's; SQLite gives its side files the same mode
        try:
            self._prepare(self._connection)
        except BaseException:
            # The identity stays: it tells which file was found to be damaged.
            self.close()
            raise
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # The tables are looked for first: they are committed together with the marks that are read after them.
        is_empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not is_empty:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != _APPLICATION:
                raise sqlite3.DatabaseError("it is another program's database; choose another path")
            if version != _VERSION:
                message = f"its tables have version {version}, this llamina reads {_VERSION}; choose another path"
                raise sqlite3.DatabaseError(message)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA recursive_triggers = ON")
        self._switch_to_wal(connection)
        if is_empty:
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _TABLES:
                    connection.execute(statement)
            connection.execute("COMMIT")

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        # Two that switch at once would wait for each other, so SQLite refuses without waiting: we wait here.
        patience = self._busy_timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or patience <= 0.0:
                    raise
            time.sleep(0.01)
            patience -= 0.01

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _set_aside(self, error: Exception) -> None:
        """Rename the damaged file, unless somebody else has already put another one in its place."""
        self.close()
        if _identity_of(self._path) != self._identity:
            return
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        # The file itself goes last: once it is gone, a newcomer begins a new one, side files included.
        for suffix in ("-shm", "-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").replace(f"{aside}{suffix}")
        _log.warning("the cache file %s is damaged (%s): it was set aside as %s", self._path, error, aside.name)


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _code(error: Exception) -> int:
    # The lowest byte is the primary result code. Errors that sqlite3 raises by itself have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: Exception) -> bool:
    return _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
