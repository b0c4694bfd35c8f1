"""Make calls fail on purpose: slow, refused, cut in the middle, by chance or by a script, the same way each time.

    Chaos(seed=7, error_rate=0.1, latency=(0.1, 2.0), truncate_rate=0.05)      # innermost: it plays a bad provider
    Chaos(script=["ok", "rate_limited", {"latency": 2}, {"truncate": 3}])      # call by call

It stands where the provider would fail, innermost, so that everything above shows what it does about it. What it plays
in a provider's place is on the ledger as an attempt of the provider "chaos" and costs nothing; a stream that it cuts is
recorded as a cut stream is.

The one surprise: chance belongs to the request. The same seed, the same question asked for the same time, has the same
luck, whatever else runs at the time: so a run can be repeated, and a retry draws anew.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import Any, ClassVar

from attrs import field, frozen
from msgspec.structs import replace

from llamina.call import Attempt
from llamina.errors import ConfigurationError, LLMError, MalformedResponseError, NetworkError
from llamina.layer import Layer
from llamina.messages import Usage
from llamina.policy._validate import at_least, between, boolean, non_negative, positive
from llamina.protocol import Handler, Request, Response
from llamina.record import CutByLimit

from ._faults import Draw, ErrorChoice, Fault, read_error, read_fault, weighted
from ._spoiler import Spoiler

__all__ = ["Chaos"]

_MOST_REQUESTS = 65_536
"""Different requests whose number of calls is remembered; the oldest are forgotten first."""

_SOUND = Fault()


def _range(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _seconds(layer: Any, attribute: Any, value: Any) -> None:
    for each in value if isinstance(value, tuple) else (value,):
        non_negative()(layer, attribute, each)
    if isinstance(value, tuple) and (len(value) != 2 or value[0] > value[1]):
        raise ConfigurationError(f"Chaos.{attribute.name} must be seconds, or (low, high), got {value!r}")


def _pieces(layer: Any, attribute: Any, value: Any) -> None:
    for each in value if isinstance(value, tuple) else (value,):
        at_least(0, integer=True)(layer, attribute, each)
    if isinstance(value, tuple) and (len(value) != 2 or value[0] > value[1]):
        raise ConfigurationError(f"Chaos.{attribute.name} must be a number of pieces, or (low, high), got {value!r}")


def _predicate(_layer: Any, _attribute: Any, value: Any) -> None:
    if value is not None and not callable(value):
        raise ConfigurationError(
            f'Chaos.enabled must be a function of a request, got {value!r}; write lambda request: request.model == "small"'
        )


def _list(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


class _Counts:
    """What the layer has done so far, and where it stands."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.calls = self.delayed = self.truncated = self.stalled = 0
        self.delay = 0.0
        self.errors: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.place = 0


@frozen(eq=False, slots=False, repr=False)
class Chaos(Layer):
    """Inject faults into the calls below. A rate is a share of the calls, from 0 to 1.

    Args:
        seed: another seed, another run; the same seed, the same faults.
        error_rate: how many calls fail at once, without being sent.
        errors: how they fail: words ("rate_limited", "overloaded", "server_error", "network_error", "timeout", ...),
            classes of errors or errors; or a mapping from them to weights.
        latency: seconds that a call waits before it is sent, or (low, high).
        latency_rate: how many of the calls that do not fail at once wait.
        truncate_rate: how many of those are cut: a stream after some pieces, a plain call after its answer was made.
        truncate_after: pieces that come before the cut, or (low, high).
        stall_rate: how many of those stand still in the middle.
        stall: for how many seconds they do.
        script: what happens to each call, one after the other, in the place of the rates: "ok", a word for an error,
            an error, "truncate", "stall", or a mapping with `latency`, `error` (with `retry_after`, `status`, `code`),
            `truncate` (pieces), `stall` (seconds, `after` so many pieces). When it has ended, calls go through.
        repeat: play the script again and again.
        enabled: `request -> bool`: only such calls are touched.

    Raises:
        The errors that it is told to raise; one that cut a stream has in `partial` what had come.
    """

    effects: ClassVar[frozenset[str]] = frozenset({"injects-faults"})

    seed: int = field(default=0, validator=at_least(0, integer=True))
    error_rate: float = field(default=0.0, kw_only=True, validator=between(0, 1))
    errors: Sequence[ErrorChoice] | Mapping[ErrorChoice, float] = field(
        default=("rate_limited", "overloaded", "server_error", "network_error", "timeout"),
        kw_only=True,
        converter=_list,
    )
    latency: float | tuple[float, float] = field(default=0.0, kw_only=True, converter=_range, validator=_seconds)
    latency_rate: float = field(default=1.0, kw_only=True, validator=between(0, 1))
    truncate_rate: float = field(default=0.0, kw_only=True, validator=between(0, 1))
    truncate_after: int | tuple[int, int] = field(default=(0, 3), kw_only=True, converter=_range, validator=_pieces)
    stall_rate: float = field(default=0.0, kw_only=True, validator=between(0, 1))
    stall: float = field(default=60.0, kw_only=True, validator=positive())
    script: Sequence[Any] = field(default=(), kw_only=True, converter=_list)
    repeat: bool = field(default=False, kw_only=True, validator=boolean())
    enabled: Callable[[Request], bool] | None = field(default=None, kw_only=True, validator=_predicate)

    _errors: list[tuple[float, LLMError]] = field(init=False, repr=False)
    _faults: list[Fault] = field(init=False, repr=False)
    _counts: _Counts = field(init=False, repr=False, factory=_Counts)

    @_errors.default
    def _read_errors(self) -> list[tuple[float, LLMError]]:
        return weighted(self.errors, where="Chaos.errors")

    @_faults.default
    def _read_script(self) -> list[Fault]:
        if not isinstance(self.script, tuple):
            raise ConfigurationError(
                f'Chaos.script must be a list, got {self.script!r}; write script=["ok", "overloaded"]'
            )
        if self.script and self._by_chance():
            raise ConfigurationError("Chaos.script is set, and so is a rate or a latency; choose one of the two")
        return [
            read_fault(item, where=f"Chaos.script[{place}]", stall=self.stall) for place, item in enumerate(self.script)
        ]

    def _by_chance(self) -> bool:
        late = self.latency_rate > 0 and self.latency not in (0, (0, 0))
        return late or self.error_rate > 0 or self.truncate_rate > 0 or self.stall_rate > 0

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        counts = self._counts
        enabled = self.enabled
        choose = self._scripted if self._faults else self._drawn if self._by_chance() else None

        async def handle(request: Request) -> Response:
            if enabled is not None and not enabled(request):
                return await call_next(request)
            counts.calls += 1
            fault = _SOUND if choose is None else choose(request)
            if fault is _SOUND:
                return await call_next(request)
            if fault.latency or fault.error is not None:
                await self._in_its_place(request, fault)
            if not fault.spoils_the_answer:
                return await call_next(request)
            spoiler = Spoiler(fault, request, counts)
            if (sink := request.sink) is not None:
                request = replace(request, sink=sink.through(spoiler.writer))
            return await spoiler.end(await call_next(request))

        return handle

    def _scripted(self, _request: Request) -> Fault:
        faults, counts = self._faults, self._counts
        with counts.lock:
            place, counts.place = counts.place, counts.place + 1
        if place >= len(faults) and not self.repeat:
            return _SOUND
        return faults[place % len(faults)]

    def _drawn(self, request: Request) -> Fault:
        identity, counts = request.identity, self._counts
        with counts.lock:
            number = counts.asked.get(identity, 0)
            counts.asked[identity] = number + 1
            if len(counts.asked) > _MOST_REQUESTS:
                for oldest in list(islice(counts.asked, _MOST_REQUESTS // 2)):
                    del counts.asked[oldest]
        draw = Draw(self.seed, identity, number)
        if draw.chance(0, self.error_rate):
            share = draw.number(1)
            return Fault(error=next(error for up_to, error in self._errors if share < up_to))
        latency, truncate, stall, after = 0.0, None, 0.0, 1
        if draw.chance(2, self.latency_rate):
            latency = draw.between(3, *_both(self.latency))
        if draw.chance(4, self.truncate_rate):
            truncate = draw.whole(5, *_both(self.truncate_after))
        if draw.chance(7, self.stall_rate):
            stall, after = self.stall, draw.whole(8, 0, 3)
        if not latency and truncate is None and not stall:
            return _SOUND
        cut = NetworkError if draw.number(6) < 0.5 else MalformedResponseError
        return Fault(latency, None, truncate, cut, stall, after)

    async def _in_its_place(self, request: Request, fault: Fault) -> None:
        """What happens before the call is sent. If it ends there, that was an attempt, of which nobody knows anything."""
        clock = get_running_loop().time
        started = clock()
        counts = self._counts
        try:
            if fault.latency:
                counts.delayed += 1
                counts.delay += fault.latency
                await asyncio.sleep(fault.latency)
            if fault.error is not None:
                counts.errors[fault.error.outcome] = counts.errors.get(fault.error.outcome, 0) + 1
                error = read_error(fault.error, where="")
                error.model = request.model if error.model is None else error.model
                raise error
        except BaseException as error:
            if request.ledger is not None:
                attempt = Attempt("chaos", request.model, started)
                request.ledger.add(attempt)
                # Nothing was sent, and that is certain.
                attempt.usage, attempt.usage_source, attempt.cost_units = Usage(), "exact", 0
                outcome = "cancelled"
                if isinstance(error, LLMError):
                    attempt.status, attempt.code = error.status, error.code
                    attempt.request_id, attempt.rate_limit = error.request_id, error.rate_limit
                    outcome = error.outcome
                elif error.args and isinstance(error.args[0], CutByLimit):
                    outcome = "timeout"
                attempt.settle(outcome, clock() - started)
            raise

    def stats(self) -> dict[str, Any]:
        """`chaos.calls` touched, `.errors` raised (and by word), `.delayed` calls and `.delay` seconds, `.truncated`, `.stalled`."""
        counts = self._counts
        by_word = {f"chaos.errors.{word}": count for word, count in counts.errors.items()}
        return {
            "chaos.calls": counts.calls,
            "chaos.errors": sum(counts.errors.values()),
            **by_word,
            "chaos.delayed": counts.delayed,
            "chaos.delay": counts.delay,
            "chaos.truncated": counts.truncated,
            "chaos.stalled": counts.stalled,
        }

    def explain(self, _request: Request | None = None) -> str:
        """What it does."""
        if self._faults:
            ends = "again and again" if self.repeat else "then lets calls through"
            return f"plays a script of {len(self._faults)} calls, {ends}"
        low, high = _both(self.latency)
        length = f"{low:g} s" if low == high else f"{low:g} to {high:g} s"
        rates = (
            ("fail", self.error_rate),
            (f"wait {length}", self.latency_rate if high else 0),
            ("are cut", self.truncate_rate),
            (f"stand still for {self.stall:g} s", self.stall_rate),
        )
        said = [f"{f'{rate:.3g} of the' if rate < 1 else 'all'} calls {what}" for what, rate in rates if rate]
        return f"{', '.join(said)} (seed {self.seed})" if said else "does nothing: every rate is 0"


def _both(value: Any) -> Any:
    return value if isinstance(value, tuple) else (value, value)
