"""What the shipped layers say of themselves in `stack.explain()`: the gist on the first line, then the details.

    of_retry(Retry(3), None)     # ["tries up to 3 times in all ...", "waits up to 0.5, 1 s ...", ...]

With a request they say what will happen to that one, as things stand now. Nothing is counted, joined, held or looked up
for it, and a prompt is never shown.

The one surprise: functions of the user's, which a layer asks for each request, are asked here too.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llamina.errors import InvalidRequestError
from llamina.explain import duration, one_line, time_left
from llamina.protocol import Request
from llamina.stores.memory import MemoryCache

from ._sharing import leaves_traces

if TYPE_CHECKING:
    from .cache import Cache
    from .dedup import Dedup
    from .logger import Logger
    from .timeout import Timeout

__all__ = [
    "NO_IDENTITY",
    "function_name",
    "of_cache",
    "of_dedup",
    "of_logger",
    "of_map_text",
    "of_timeout",
    "store_waits",
]

_DIGITS = 12
"""Of an identity: enough to find it in a log."""


def of_logger(layer: Logger, request: Request | None) -> list[str]:
    """What is written, where, and at which level."""
    usual, failed = layer.level, max(layer.level, logging.WARNING)
    name = layer.logger.name
    first = f"logs each call once, when it ends: {_level(usual)} to {name!r}, a failure {_level(failed)}"
    if layer.content:
        redacted = ", redacted" if layer.redact is not None else ""
        second = f"with prompts and answers, up to {layer.max_content} characters of each{redacted}"
    else:
        second = "without prompts and answers"
    said = [first, second]
    if request is not None and not layer.logger.isEnabledFor(usual):
        both = not layer.logger.isEnabledFor(failed)
        said.append(f"{'nothing' if both else 'only a failure'} is logged now: {name!r} is set to a higher level")
    return said


def _level(level: int) -> str:
    return logging.getLevelName(level)


def of_cache(layer: Cache, request: Request | None) -> list[str]:
    """Whether the store is asked, under which key, and how long an answer is kept."""
    kept = _lifetime(layer, None)
    said = [f"gives what was answered before, else keeps the answer {kept} ({type(layer.store).__name__})"]
    if layer.stale_while_revalidate is not None:
        said.append(
            f"then gives the old one for {duration(layer.stale_while_revalidate)} more, while one call renews it"
        )
    if layer.only_deterministic:
        said.append("only for requests with temperature=0 or a seed")
    if request is None:
        return [*said, _apart(layer.scope)]
    if layer.side_effects(request):
        return [*said, f"this request passes: {_trace(layer.side_effects)}"]
    if not layer._serves(request):
        return [*said, "this request passes: it has neither temperature=0 nor a seed"]
    key = _key(layer, request)
    if key is None:
        return [*said, NO_IDENTITY]
    control = request.cache
    looks = control is None or not control.no_cache
    keeps = control is None or not control.no_store
    first = f"will be looked up under {key}" if looks else "will not be looked up (no_cache)"
    second = f"its answer kept {_lifetime(layer, request)}" if keeps else "its answer not kept (no_store)"
    return [*said, f"{first}, {second}{'' if looks or not keeps else f' under {key}'}"]


def _lifetime(layer: Cache, request: Request | None) -> str:
    asked = None if request is None or request.cache is None else request.cache.ttl
    ttl = next((each for each in (asked, layer.ttl, getattr(layer.store, "ttl", None)) if each is not None), None)
    return "until it is evicted" if ttl is None else f"for {duration(ttl)}"


def store_waits(layer: Cache) -> float:
    """Seconds that one call waits for the store at most: once to look, once to keep."""
    if type(layer.store) is MemoryCache:
        return 0.0
    return math.inf if layer.store_timeout is None else 2 * layer.store_timeout


def of_dedup(layer: Dedup, request: Request | None) -> list[str]:
    """Whether the request may share a flight, and which."""
    said = ["makes one call below of all who ask the same at the same time"]
    kept = ", ".join([variable.name for variable in layer.context])
    but = f", but with the context variables {kept}" if kept else " and context variables"
    said.append(f"what is below runs without the callers' deadlines{but}")
    if request is None:
        return [*said, _apart(layer.scope)]
    if layer.side_effects(request):
        return [*said, f"this request flies alone: {_trace(layer.side_effects)}"]
    key = _key(layer, request)
    return [*said, NO_IDENTITY if key is None else f"will share the flight {key}"]


NO_IDENTITY = "this request is refused: a parameter of it has no canonical form, so it has no identity"


def _key(layer: Cache | Dedup, request: Request) -> str | None:
    """The identity's first digits and the tags that keep callers apart."""
    try:
        identity = request.identity
    except InvalidRequestError:
        return None
    tags = [
        f"{name} {request.tags[name]!r}" for name in dict.fromkeys(("tenant", *layer.scope)) if name in request.tags
    ]
    return one_line(", ".join([identity[:_DIGITS], *tags]))


def _apart(scope: tuple[str, ...]) -> str:
    return f"keeps apart who differs in {_named(dict.fromkeys(('tenant', *scope)))}"


def _trace(side_effects: Callable[[Request], bool]) -> str:
    if side_effects is leaves_traces:
        return "it leaves something behind at the provider (store, background)"
    return f"{function_name(side_effects)} says that it has side effects"


def of_timeout(layer: Timeout, request: Request | None) -> list[str]:
    """The limits, and which of them is the nearest for the request."""
    limits = []
    if layer.seconds is not None:
        limits.append(f"after {duration(layer.seconds)}")
    if layer.first_event is not None:
        limits.append(f"when nothing of a stream came for {duration(layer.first_event)}")
    if layer.idle is not None:
        limits.append(f"when a stream pauses for {duration(layer.idle)}")
    said = [f"ends what is below {' or '.join(limits)}" if limits else "ends what is below at the request's deadline"]
    if layer.grace is None:
        said.append("waits for it to clean up, however long that takes")
    else:
        said.append(f"gives it {duration(layer.grace)} to clean up; what takes longer ends in the background")
    if request is None or request.deadline is None:
        return said
    left = time_left(request)
    if left is None:
        return [*said, "the request's deadline ends it too"]
    if not left:
        return [*said, "refuses this request: its deadline has passed"]
    nearer = layer.seconds is None or left < layer.seconds
    return [
        *said,
        f"the request's deadline is {duration(left)} away: {'it' if nearer else 'the limit here'} comes first",
    ]


def of_map_text(function: Callable[[str], str], by: str) -> list[str]:
    """What rewrites, and what that means for a stream."""
    said = f"rewrites the text of answers with {function_name(function)}"
    if by == "text":
        return [said, "of a stream too, whose text is held back until it is complete"]
    return [f"{said}, {by} by {by}", f"of a stream too, each {by} as soon as it has ended"]


def function_name(function: Any) -> str:
    """What to call a function of the user's."""
    name = getattr(function, "__name__", None)
    return one_line(f"{name}()" if isinstance(name, str) and name != "<lambda>" else "a function of yours")


def _named(names: Any) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else str(last)
