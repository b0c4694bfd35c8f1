"""A budget for retries over all calls: what helps one call must not become a storm when everything fails.

    RetryBudget(capacity=100, ratio=0.1)      # a reserve of 100 retries, refilled by a tenth for each success

A limit of attempts bounds one call; when a provider is down, every call uses it up, and the load on the provider is
multiplied at the worst moment. A budget is a token bucket shared by all calls of a layer: each retry takes a token, each
success gives *ratio* back. So retries never exceed `capacity + ratio * successes`, and while everything fails no more
than *capacity* are made, however many calls there are; with a few failures the budget is never felt.

Sources: gRFC A6 (retry throttling: a token a failure, `tokenRatio` back for a success), the retry quota of the AWS SDKs
(a bucket of 500, of which a retry takes 5), Finagle's RetryBudget (20 % and a reserve), "Addressing Cascading Failures"
and "Handling Overload" in the book "Site Reliability Engineering" (a client keeps its retries below 10 %).

The one surprise: only retries are paid for. A flood of invalid requests does not use the budget up, for nobody tries
them again.
"""

from __future__ import annotations

from attrs import define, field, setters

from llamina.errors import QuotaExceededError, RateLimitError

from ._validate import non_negative, not_above, not_below, optional, positive

__all__ = ["RetryBudget"]

_DUST = 1e-9  # ten deposits of 0.1 pay for one retry, though they sum up to a hair less than 1


@define(eq=False, on_setattr=setters.NO_OP)  # a balance that changes with each call is not validated anew
class RetryBudget:
    """A bucket of retries, full at first. Shared by every layer that it is given to, on one event loop.

    Args:
        capacity: tokens in reserve, and the most that successes can refill.
        ratio: tokens that one success gives back; 0: the reserve is all there is.
        cost: tokens that one retry takes.
        throttle_cost: tokens that a retry after a rate limit takes; None: *cost*.
    """

    capacity: float = field(default=100.0, validator=not_below("cost", remedy="set Retry.attempts=1 to forbid retries"))
    ratio: float = field(default=0.1, validator=non_negative())
    cost: float = field(default=1.0, validator=positive(), kw_only=True)
    throttle_cost: float | None = field(default=None, validator=optional(not_above("capacity")), kw_only=True)
    _balance: float = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._balance = float(self.capacity)

    @property
    def balance(self) -> float:
        """Tokens that are left."""
        return self._balance

    def try_withdraw(self, error: BaseException | None = None) -> bool:
        """Take the cost of one retry after *error*; False, and nothing taken, when there is too little."""
        cost = self.cost
        if (
            self.throttle_cost is not None
            and isinstance(error, RateLimitError)
            and not isinstance(error, QuotaExceededError)
        ):
            cost = self.throttle_cost
        if self._balance + _DUST < cost:
            return False
        self._balance = max(0.0, self._balance - cost)
        return True

    def deposit(self) -> None:
        """Give back for one success."""
        balance = self._balance + self.ratio
        self._balance = balance if balance < self.capacity else float(self.capacity)
