"""The file of a `Recorder`: recordings by the identity of their request, written whole, read by whoever comes next.

    cassette = Cassette(path)
    cassette.takes(identity)                     # what was recorded of it, in order; [] where nothing was
    cassette.put(identity, asked, takes)         # on the disk when it returns
    cassette.nearest(asked)                      # the recorded request that differs least, and where

Two objects in one process may record to one file: each writes what it has recorded over what the file holds by then.

The one surprise: a file that another version has written, or that is damaged, is refused, never written over.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from threading import Lock, RLock
from typing import Any

from llamina.errors import ConfigurationError
from llamina.identity import differences

from ._cassette_text import as_text

__all__ = ["FORMAT", "VERSION", "Cassette", "Take", "places"]

FORMAT = "llamina cassette"
VERSION = 1
"""Version of the file's form: raised when an older llamina could not read it."""

_FIELDS = ("kind", "model", "messages", "params", "headers")
_EMPTY: dict[str, Any] = {"messages": [], "params": {}, "headers": {}}

_writing = Lock()  # reading, merging and replacing a file is one step for all cassettes of the process
_numbers = itertools.count()


class Take:
    """One call as plain data, and what the file says of it, which is made once."""

    __slots__ = ("_data", "_flat", "plain")

    def __init__(self, plain: dict[str, Any]) -> None:
        self.plain = plain
        self._data: bytes | None = None
        self._flat: str | None = None

    def copy(self) -> Any:
        """The plain data, all of it the caller's own."""
        if self._flat is None:
            self._flat = json.dumps(self.plain)
        return json.loads(self._flat)

    @property
    def data(self) -> bytes:
        """As it stands in the file."""
        if self._data is None:
            self._data = _bytes(" " * 8 + as_text(self.plain, " " * 8))
        return self._data


class _Entry:
    """One request and its takes."""

    __slots__ = ("_data", "asked", "played_as", "takes")

    def __init__(self, asked: dict[str, Any], takes: list[Take], played_as: str | None) -> None:
        self.asked = asked
        self.takes = takes
        self.played_as = played_as
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        if self._data is None:
            also = "" if self.played_as is None else f'      "played_as": {as_text(self.played_as)},\n'
            head = _bytes(f'{{\n{also}      "request": {as_text(self.asked, " " * 6)},\n      "takes": [\n')
            self._data = head + b",\n".join([take.data for take in self.takes]) + b"\n      ]\n    }"
        return self._data


def _bytes(text: str) -> bytes:
    # Half a character of UTF-16, which UTF-8 cannot say, becomes the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace")


class Cassette:
    """The recordings in the file at *path*, read when they are first asked for.

    Raises:
        ConfigurationError: (by every method) the file is no cassette, or of a newer version, or cannot be read or
            written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = RLock()
        self._entries: dict[str, _Entry] = {}
        self._played_as: dict[str, str] = {}
        self._mine: dict[str, _Entry] = {}
        self._seen: object = ()

    @property
    def exists(self) -> bool:
        """Whether there is a file; a link that leads nowhere is none."""
        return Path(self.path).exists()

    def __len__(self) -> int:
        self._refresh()
        return len(self._entries)

    def takes(self, identity: str) -> list[Take]:
        """What was recorded of a request, in order."""
        with self._lock:
            entry = self._find(identity)
            if entry is None:
                self._refresh()
                entry = self._find(identity)
            return [] if entry is None else entry.takes

    def _find(self, identity: str) -> _Entry | None:
        return self._entries.get(identity) or self._entries.get(self._played_as.get(identity, ""))

    def put(self, identity: str, asked: dict[str, Any], takes: list[Take], played_as: str) -> None:
        """Put *takes* in the place of what was recorded of this request, and write the file.

        *played_as* is the identity of the same request in a conversation that is played back.
        """
        with self._lock, _writing:
            self._mine[identity] = _Entry(asked, takes, None if played_as == identity else played_as)
            self._refresh()
            self._use(self._entries | self._mine)
            try:
                self._write()
            except (OSError, ValueError, TypeError) as error:
                raise ConfigurationError(
                    f"the cassette {self.path} cannot be written ({type(error).__name__}: {error}); "
                    "make room or choose another path, then record again"
                ) from error
            self._seen = self._signature()

    def nearest(self, asked: dict[str, Any]) -> tuple[str, list[str]] | None:
        """The identity of the recorded request that differs least from *asked*, and the places; None: nothing is there."""
        text = json.dumps(asked, sort_keys=True, default=str)
        best: tuple[tuple[int, int], str, list[str]] | None = None
        with self._lock:
            self._refresh()
            entries = list(self._entries.items())
        for identity, entry in entries:
            found = places(entry.asked, asked)
            distance = (len(found), -_alike(text, json.dumps(entry.asked, sort_keys=True)))
            if best is None or distance < best[0]:
                best = (distance, identity, found)
        return None if best is None else best[1:]

    def _signature(self) -> object:
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from error
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _refresh(self) -> None:
        """Read the file, if it is not the one that was read or written last."""
        signature = self._signature()
        if signature == self._seen:
            return
        self._use({} if signature is None else self._read())
        self._seen = signature

    def _use(self, entries: dict[str, _Entry]) -> None:
        self._entries = entries
        self._played_as = {entry.played_as: name for name, entry in entries.items() if entry.played_as is not None}

    def _read(self) -> dict[str, _Entry]:
        try:
            content = json.loads(Path(self.path).read_bytes())
        except OSError as error:
            raise self._unreadable(error) from error
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"the cassette {self.path} is no JSON ({error}); restore it, or delete it and record again"
            ) from error
        try:
            form, version = content["format"], content["version"]
            if form != FORMAT or not isinstance(version, int):
                raise ValueError
            if version > VERSION:  # whatever it looks like
                raise ConfigurationError(
                    f"the cassette {self.path} is of version {version}, this llamina reads up to {VERSION}; "
                    "update llamina, or record again into another file"
                )
            return {
                identity: _Entry(
                    dict(each["request"]), [Take(dict(take)) for take in each["takes"]], each.get("played_as")
                )
                for identity, each in content["recordings"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                f"{self.path} is no cassette: it has no format {FORMAT!r} with a version and recordings; "
                "give the Recorder a path of its own"
            ) from error

    def _unreadable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"the cassette {self.path} cannot be read ({type(error).__name__}: {error.strerror})")

    def _write(self) -> None:
        rows = [
            b'    "%s": %s' % (identity.encode(), self._entries[identity].data) for identity in sorted(self._entries)
        ]
        head = f'{{\n  "format": "{FORMAT}",\n  "recordings": {{\n'.encode()
        tail = f'\n  }},\n  "version": {VERSION}\n}}\n'.encode()
        # A link stays a link; and half a file is never seen, whenever the process ends.
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}-{next(_numbers)}")
        try:
            draft.write_bytes(head + b",\n".join(rows) + tail)
            if target.exists():  # what only its owner may read stays so
                shutil.copymode(target, draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _alike(one: str, other: str) -> int:
    """With how many characters two texts begin alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def places(recorded: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """The places at which two requests differ, by the names that `explain_identity` uses."""
    return [
        place
        for field in _FIELDS
        for place in differences(recorded.get(field, _EMPTY.get(field)), asked.get(field, _EMPTY.get(field)), field)
    ]
