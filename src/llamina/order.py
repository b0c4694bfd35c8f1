"""Which orders of layers are wrong, and why: from the effects that layers declare by a plain attribute.

    build_stack([Retry(), Cache()], transport)     # StackOrderWarning: Cache stands inside Retry ...

    class Limit:
        effects = frozenset({"limits-rate"})       # a layer of yours takes part

The one surprise: a layer without `effects` is never complained about; nothing is known of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stack import Stack

__all__ = ["EFFECTS", "StackOrderWarning", "enforce"]

EFFECTS = {
    "short-circuits": "may answer by itself, without the layers below",
    "stores": "keeps answers for later calls",
    "shares": "gives one call below to several callers at once",
    "replays": "may call below again",
    "branches": "may have several calls below at once for one call",
    "falls-back": "may turn to another model or provider",
    "re-asks": "calls below again when the answer does not pass its check",
    "meters": "charges what the attempts below have cost",
    "budgets": "holds money before, and refuses what is too expensive",
    "limits-rate": "admits so many calls or tokens in a time; a call may wait",
    "limits-concurrency": "admits so many calls at once; a call may wait",
    "judges": "decides from what comes back whether the service is up, and refuses while it is down",
    "bounds-time": "ends what is below after some seconds",
    "watches-stream": "ends a stream whose events are late",
    "rewrites-request": "changes what is asked",
    "rewrites-answer": "changes what is answered",
    "refuses": "refuses requests or answers for what they say",
    "stamps": "adds to the request what differs from call to call, a trace id say",
    "sets-tags": "says to whom a call belongs: tenant, user",
    "observes": "writes down each call as it is seen at its place",
    "injects-faults": "fails or delays on purpose",
    "records": "writes down or plays back what the provider says",
}
"""The words for `effects`, each with what it means."""


class StackOrderWarning(UserWarning):
    """The order of a stack is known to be wrong; the message says why, and what to do."""


def enforce(stack: Stack, *, refuse: bool, stacklevel: int) -> None:
    """Warn of each wrong order, or refuse the stack for it."""
