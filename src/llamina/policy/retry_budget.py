"""A budget for retries over all calls: what helps one call must not become a storm when everything fails.

    RetryBudget(capacity=100, ratio=0.1)      # a reserve of 100 retries, refilled by a tenth for each success

A limit of attempts bounds one call; when a provider is down, every call uses it up, and the load on the provider is
multiplied at the worst moment. A budget is a token bucket shared by all calls of a layer: each retry takes a token, each
success gives *ratio* back. While everything fails, at most *capacity* retries are made, however many calls there are; with
a few failures it is never felt. (gRFC A6 retry throttling; the retry quota of the AWS SDKs; Finagle's RetryBudget; "The
Site Reliability Workbook", handling overload.)

The one surprise: only retryable failures are paid for. A flood of invalid requests does not use the budget up.
"""

from __future__ import annotations

from attrs import define, field, setters

from ._validate import non_negative, positive

__all__ = ["RetryBudget"]


@define(eq=False, on_setattr=setters.NO_OP)  # a balance that changes with each call is not validated anew
class RetryBudget:
    """A bucket of retries.

    Args:
        capacity: retries in reserve, and the most that successes can refill.
        ratio: retries that one success gives back.
        cost: tokens that one retry takes.
    """

    capacity: float = field(default=100.0, validator=positive())
    ratio: float = field(default=0.1, validator=non_negative())
    cost: float = field(default=1.0, validator=positive(), kw_only=True)
    balance: float = field(init=False, repr=False)
    """Tokens that are left."""

    def __attrs_post_init__(self) -> None:
        self.balance = self.capacity

    def try_withdraw(self, error: BaseException) -> bool:  # noqa: ARG002
        """Take the cost of one retry after *error*; False, and nothing taken, when there is too little."""
        if self.balance < self.cost:
            return False
        self.balance -= self.cost
        return True

    def deposit(self) -> None:
        """Give back for one success."""
        balance = self.balance + self.ratio
        self.balance = balance if balance < self.capacity else self.capacity
