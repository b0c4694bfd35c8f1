"""A backoff that learns: longer while failures of a kind cluster, shorter as calls succeed, and it slows the client.

    Retry(attempts=5, backoff=Adaptive(base=0.5, cap=30))

Each class of errors has a level of its own. A failure raises it by one, a success leaves *decay* of every level, and time
halves a level every *half_life* seconds. Failures less than *base* seconds apart are one: a connection that takes a
hundred calls with it has failed once. The delay is `base * factor ** (n - 1)`, at most *cap*, where n is the number of
the try or the level, whichever is greater: never less patient than `Exponential`, and more so when other calls have just
failed in the same way. Besides, throttling slows the whole client down, first tries included: see
`llamina.policy.send_rate`. That is off until the first throttle.

The one surprise: one object serves one target. Shared by several providers, the throttling of one slows down all.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict

from attrs import define, field, setters

from llamina.errors import OverloadedError, QuotaExceededError, RateLimitError

from ._validate import at_least, boolean, fraction, not_below, one_of, positive, random_source
from .backoff import JITTERS, Jitter, draw, grown, spread
from .classify import classify
from .send_rate import SendRate

__all__ = ["Adaptive"]

_CLASSES = 32  # classes of errors that are remembered; the one that was seen longest ago goes
_LEAST_LEVEL = 0.05


@define(eq=False, on_setattr=setters.NO_OP)  # what is learnt is not validated anew with each call
class Adaptive:
    """Learn from what is observed; for one target, on one event loop.

    Args:
        base, factor, cap: seconds, as for `Exponential`; with a factor of 1 only the pace is learnt.
        decay: share of every level that a success leaves.
        half_life: seconds in which a level halves by itself.
        slow_down: whether throttling slows the client down, first tries too.
        min_rate: calls per second to which throttling can slow the client at most.
        beta: share of the measured rate that is kept at a throttle.
        jitter: "full", "equal" or "none".
        rng: source of the jitter.
    """

    base: float = field(default=0.5, validator=positive(remedy="write Constant(0) to try again at once"))
    factor: float = field(default=2.0, validator=at_least(1), kw_only=True)
    cap: float = field(default=30.0, validator=not_below("base"), kw_only=True)
    decay: float = field(default=0.5, validator=fraction(), kw_only=True)
    half_life: float = field(default=30.0, validator=positive(), kw_only=True)
    slow_down: bool = field(default=True, validator=boolean(), kw_only=True)
    min_rate: float = field(default=0.5, validator=positive(), kw_only=True)
    beta: float = field(default=0.7, validator=fraction(), kw_only=True)
    jitter: Jitter = field(default="full", validator=one_of(*JITTERS), kw_only=True)
    rng: random.Random = field(factory=random.Random, validator=random_source(), kw_only=True, repr=False)

    _levels: OrderedDict[type[BaseException], tuple[float, float]] = field(init=False, repr=False, factory=OrderedDict)
    """Class of errors -> (level, when a failure last raised it)."""
    _top: float = field(init=False, repr=False, default=1.0)
    _pace: SendRate = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # Beyond the level that reaches the cap more failures teach nothing, but successes would have to undo them.
        if self.factor > 1:
            self._top = 1.0 + math.ceil((math.log(self.cap) - math.log(self.base)) / math.log(self.factor))
        self._pace = SendRate(minimum=self.min_rate, beta=self.beta)

    @property
    def rate(self) -> float | None:
        """Calls per second to which the client is slowed, None while it is not."""
        return self._pace.rate

    @property
    def levels(self) -> dict[str, float]:
        """How badly each class of errors has been clustering, by the name of the class."""
        return {kind.__name__: level for kind, (level, _) in self._levels.items()}

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait after try number *attempt*, which raised *error*."""
        return draw(self.bounds(attempt, error, previous), self.rng)

    def bounds(
        self,
        attempt: int,
        error: BaseException | None = None,
        previous: float | None = None,  # noqa: ARG002
    ) -> tuple[float, float]:
        """The least and the greatest number of seconds that `delay` can answer, as learnt so far."""
        level, _ = self._levels.get(type(error), (0.0, 0.0)) if error is not None else (0.0, 0.0)
        return spread(grown(self.base, self.factor, max(attempt, level, 1) - 1, self.cap), self.jitter)

    def observe_error(self, error: BaseException, now: float) -> None:
        """A try failed at *now* (seconds on a clock that never jumps). What no retry can help teaches nothing."""
        if isinstance(error, RateLimitError | OverloadedError) and not isinstance(error, QuotaExceededError):
            self._pace.on_throttle(now)
        else:
            self._pace.on_failure(now)
        if not classify(error).retry:
            return
        kind = type(error)
        level, raised = self._levels.pop(kind, (0.0, -math.inf))
        if not 0.0 <= now - raised < self.base:
            faded = level * 0.5 ** (max(0.0, now - raised) / self.half_life)
            level, raised = min(self._top, faded + 1.0), now
        self._levels[kind] = (level, raised)
        if len(self._levels) > _CLASSES:
            self._levels.popitem(last=False)

    def observe_success(self, now: float) -> None:
        """A try succeeded at *now*."""
        self._pace.on_success(now)
        for kind, (level, raised) in list(self._levels.items()):
            if level * self.decay < _LEAST_LEVEL:
                del self._levels[kind]
            else:
                self._levels[kind] = (level * self.decay, raised)

    def admission_delay(self, now: float) -> float:
        """Seconds that the next try must wait for its turn; takes the turn."""
        return self._pace.reserve(now) if self.slow_down else 0.0

    def forgo_admission(self) -> None:
        """The turn that `admission_delay` gave is not used: the try was refused or cancelled while it waited."""
        if self.slow_down:
            self._pace.give_back()
