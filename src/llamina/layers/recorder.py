"""Record calls once, play them back in tests: no network, no key, the same answers each time.

    Recorder("tests/cassettes/talk.json")                    # the first run records, every other one plays back
    Recorder("tests/cassettes/talk.json", mode="replay")     # never calls below: for CI
    Recorder("tests/cassettes/talk.json", mode="record")     # asks everything afresh

A cassette is one file of readable JSON, by the identity of the requests. It keeps the complete answer, a stream with its
cuts, and failures, which are raised again. What is played counts as a call of a provider would: an attempt, its tokens,
its price. A request that is not there fails with a `CassetteMissError`, which names what differs from the nearest one
that is. What looks like a key or is named like one is not written; `redact=` takes out what else is private.

The one surprise: the same request asked three times is three takes, played in that order; then the last one repeats.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Literal

from attrs import field, frozen
from msgspec.structs import replace

from llamina.errors import (
    CassetteMissError,
    ConfigurationError,
    InvalidRequestError,
    LLMError,
    StreamCommittedError,
    StreamDivergedError,
)
from llamina.layer import Layer
from llamina.policy._validate import boolean, one_of, optional, positive
from llamina.protocol import Handler, Request, Response
from llamina.record import record

from ._cassette import Cassette, Take
from ._cassette_text import Clean, cleaner, written_request
from ._take import Played, Tape, as_played, taken

__all__ = ["Recorder"]

_MOST_PLACES = 6
_NOT_THE_PROVIDERS = (CassetteMissError, ConfigurationError, StreamCommittedError, StreamDivergedError)
"""Failures of the program, not of what is asked."""


def _path(value: Any) -> str:
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(path, str) or not path:
        raise ConfigurationError(
            f'Recorder.path must be the path of a file, got {value!r}; write Recorder("tests/cassettes/talk.json")'
        )
    if Path(path).is_dir():
        raise ConfigurationError(
            f"Recorder.path must be the path of a file, got the folder {path!r}; name a file in it"
        )
    return path


def _redactor(_layer: Any, _field: Any, value: Any) -> None:
    if value is not None and not callable(value):
        raise ConfigurationError(
            f'Recorder.redact must be a function from text to text, got {value!r}; write lambda text: text.replace("Ada", "…")'
        )


class _Session:
    """What the layer has done since it was built."""

    def __init__(self, path: str, clean: Clean) -> None:
        self.cassette = Cassette(path)
        self.clean = clean
        self.lock = Lock()
        self.numbers = count()
        self.plays_only: bool | None = None
        self.taking: dict[str, list[tuple[int, Take]]] = {}
        self.played: dict[str, int] = {}
        self.recorded = self.replayed = self.missed = 0


@frozen(eq=False, slots=False, repr=False)
class Recorder(Layer):
    """Write down what comes back from below, or play it back.

    Args:
        path: the file; its folder is made when something is written.
        mode: "once": record if there is no file yet, else only play back; "replay": only play back; "record": ask
            everything afresh, and replace what the file has of the same requests; "auto": play what is there, record
            what is not; "off": do nothing.
        repeat: play the last take of a request again and again; else a request that is asked more often than it was
            recorded is a miss.
        speed: None: play at once; 1: as slowly as it was recorded; 10: ten times as fast.
        redact: `text -> text`, applied to every text before it is written: prompts, parameters, answers, failures.
            The identity stays that of the original request; what is played back is what was written, and a
            conversation that goes on from it is found.

    Raises:
        CassetteMissError: (by a call) the request is not on the cassette.
        ConfigurationError: a setting is wrong; or (by a call) the file is no cassette, or cannot be read or written.
            A call whose answer could not be written fails: a recording with a hole in it would be found much later.
    """

    effects: ClassVar[frozenset[str]] = frozenset({"records"})

    path: str = field(converter=_path)
    mode: Literal["once", "replay", "record", "auto", "off"] = field(
        default="once",
        validator=one_of("once", "replay", "record", "auto", "off", remedy='write mode="replay" to call nobody'),
    )
    repeat: bool = field(default=True, kw_only=True, validator=boolean())
    speed: float | None = field(
        default=None, kw_only=True, validator=optional(positive(remedy="leave it out to play at once"))
    )
    redact: Callable[[str], str] | None = field(default=None, kw_only=True, validator=_redactor)

    _session: _Session = field(init=False, repr=False)

    @_session.default
    def _begin(self) -> _Session:
        return _Session(self.path, cleaner(self.redact))

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        if self.mode == "off":

            async def pass_on(request: Request) -> Response:
                return await call_next(request)

            return pass_on

        async def handle(request: Request) -> Response:
            take = self._take(request)
            if take is None:
                return await self._record(request, call_next)
            played = Played(take.copy(), self.speed)
            return await (record(played)(request) if played.asked else played(request))

        return handle

    def _take(self, request: Request) -> Take | None:
        """The take to play, or None to record one."""
        session, identity = self._session, request.identity
        with session.lock:
            if session.plays_only is None:
                session.plays_only = self._plays_only()
            takes = session.cassette.takes(identity)  # also to find out about a wrong file before anybody is asked
            place = self._place(identity, takes)
            if place is not None:
                session.played[identity] = session.played.get(identity, 0) + 1
                session.replayed += 1
                return takes[place]
            if session.plays_only:
                session.missed += 1
                raise self._miss(request, len(takes))
            if takes and self.mode != "record":  # the further ones are added to those that are there
                session.taking.setdefault(identity, [(-1, take) for take in takes])
            return None

    def _plays_only(self) -> bool:
        session = self._session
        if session.plays_only is not None:
            return session.plays_only
        return self.mode == "replay" or (self.mode == "once" and session.cassette.exists)

    def _place(self, identity: str, takes: list[Take]) -> int | None:
        """Which of the *takes* is the next to be played, or None."""
        session = self._session
        if self.mode == "record" or identity in session.taking:
            return None
        number = session.played.get(identity, 0)
        return min(number, len(takes) - 1) if takes and (number < len(takes) or self.repeat) else None

    async def _record(self, request: Request, call_next: Handler) -> Response:
        session = self._session
        number = next(session.numbers)
        asked = written_request(request, session.clean)
        tape = Tape(request.sink)
        node = None
        below = request
        if request.ledger is not None:
            node = request.ledger.child()
            below = replace(below, ledger=node)
        if request.sink is not None:
            below = replace(below, sink=request.sink.through(tape.writer))
        try:
            response = await call_next(below)
        except LLMError as error:
            if error is not tape.refused and not isinstance(error, _NOT_THE_PROVIDERS):
                self._keep(number, request, asked, tape, error, node)
            raise
        self._keep(number, request, asked, tape, response, node)
        return response

    def _keep(
        self,
        number: int,
        request: Request,
        asked: dict[str, Any],
        tape: Tape,
        outcome: Response | LLMError,
        node: Any,
    ) -> None:
        """Write down what happened, before anybody above hears of it."""
        session, identity = self._session, request.identity
        plain = taken(tape, outcome, session.clean, None if node is None else node.attempts)
        take = Take(plain)
        try:
            take.data  # noqa: B018 - made now: one that JSON cannot say must not stand in the way of the others
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"the answer cannot be written to the cassette {self.path} ({type(error).__name__}: {error})"
            ) from error
        with session.lock:
            takes = session.taking.setdefault(identity, [])
            takes.append((number, take))
            takes.sort(key=lambda each: each[0])  # calls side by side end in any order
            session.recorded += 1
            again = as_played(request, session.clean).identity
            session.cassette.put(identity, asked, [each for _, each in takes], again)

    def _miss(self, request: Request, takes: int) -> CassetteMissError:
        cassette = self._session.cassette
        again = 'if that is meant, record it again: mode="record"'
        found: list[str] = []
        if takes:
            text = f"all {takes} takes of this request in {self.path} were played; {again}, or repeat=True"
        elif not cassette.exists:
            text = f'there is no cassette at {self.path}; record it once: Recorder({self.path!r}, mode="record")'
        else:
            nearest = cassette.nearest(written_request(request, self._session.clean))
            if nearest is None:
                text = f"the cassette {self.path} is empty; {again}"
            else:
                found = nearest[1]
                shown = ", ".join(found[:_MOST_PLACES]) + (", ..." if len(found) > _MOST_PLACES else "")
                differs = f"differs in {shown}" if found else "differs only in what is redacted or hidden there"
                text = f"no recording of this request in {self.path}: the nearest of {len(cassette)} {differs}; {again}"
        return CassetteMissError(text, model=request.model, cassette=self.path, differences=tuple(found))

    def rewind(self) -> None:
        """Play every request from its first take again."""
        with self._session.lock:
            self._session.played.clear()

    def stats(self) -> dict[str, Any]:
        """`recorder.recorded` takes written, `recorder.replayed` takes played, `recorder.missed` requests not found."""
        session = self._session
        return {
            "recorder.recorded": session.recorded,
            "recorder.replayed": session.replayed,
            "recorder.missed": session.missed,
        }

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, whether it would be played or recorded, as things stand now."""
        does = {
            "once": "records if there is no file yet, else only plays back",
            "replay": "only plays back",
            "record": "asks everything afresh and writes it down",
            "auto": "plays what is there, records what is not",
            "off": "does nothing",
        }[self.mode]
        line = f"{does}: {self.path}"
        if request is None or self.mode in ("off", "record"):
            return line
        try:
            identity = request.identity
        except InvalidRequestError:
            from ._explanations import NO_IDENTITY

            return f"{line}\n{NO_IDENTITY}"
        session = self._session
        with session.lock:
            takes = session.cassette.takes(identity)
            place = self._place(identity, takes)
            if place is not None:
                return f"{line}\nplays take {place + 1} of {len(takes)}"
            return f"{line}\n{'fails: it is not recorded' if self._plays_only() else 'records it'}"

    def _at_worst(self, calls: float, own: float, asked: float) -> tuple[float, float, float]:
        """For `llamina.explain`: what is only played back reaches nobody, and takes as long as it took."""
        if self.mode != "replay":
            return calls, own, asked
        seconds = 0.0 if self.speed is None else inf
        return 0.0, seconds, seconds
