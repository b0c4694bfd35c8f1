"""What a stack does, in words: a tree of its layers, and what each will do for a given request.

    print(stack.explain())              # the tree, outermost first
    print(stack.explain(request))       # with what will happen to that request, as things stand now

    class Translate:
        def explain(self, request):     # a layer of yours speaks for itself; one line or a few
            return "asks in English and answers in the reader's language"

Nothing is sent, counted, waited for or changed, and no prompt is shown.

The one surprise: each layer is told of the request as it enters the stack. Where a layer above changes what is asked,
those below will see another one; the tree says so.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from .errors import ConfigurationError
from .layer import Layer, is_usual
from .order import EFFECTS, Finding, findings
from .protocol import Request
from .stack import Stack

__all__ = [
    "at_worst",
    "at_worst_in_words",
    "duration",
    "effects_of",
    "explain",
    "look",
    "name_of",
    "one_line",
    "parts_of",
    "picture_of",
    "sentences",
    "time_left",
]

_ASKS_AGAIN = frozenset({"replays", "branches", "re-asks", "falls-back"})
_WAITS = frozenset({"limits-rate", "limits-concurrency", "injects-faults", "replays", "re-asks"})
_CHANGES = frozenset({"rewrites-request", "stamps", "sets-tags"})
_LONGEST_LINE = 400


def explain(stack: Stack, request: Request | None = None) -> str:
    """*stack* as a tree, outermost first, with what each layer does; with a *request*, what it will do for that one.

    The first line says how many requests to the provider one call can become, and how long it can take. Then come the
    findings about the order of the layers.
    """
    found, unreadable = look(stack)
    lines = [at_worst_in_words(stack, request), *[f"{each.severity}: {one_line(each)}" for each in found]]
    if unreadable:
        lines.append(f"The order was not checked: {one_line(unreadable)}")
    lines.append("")
    if request is not None:
        lines.append(f"For a {one_line(request.kind)} request to {one_line(request.model)!r}{_changed(stack)}:")
    return "\n".join([*lines, "Stack", *_tree(stack, request)])


def _tree(stack: Stack, request: Request | None) -> Iterator[str]:
    parts = parts_of(stack)
    for place, part in enumerate(parts, 1):
        branch, stem = ("└─ ", "   ") if place == len(parts) else ("├─ ", "│  ")
        if isinstance(part, Stack):
            yield f"{branch}Stack"
            yield from [f"{stem}{line}" for line in _tree(part, request)]
            continue
        yield f"{branch}{picture_of(part)}"
        yield from [f"{stem}  {line}" for line in sentences(part, request)]


def parts_of(stack: Stack) -> tuple[Any, ...]:
    """The layers, outermost first, and the transport."""
    return (*stack.layers, stack.transport)


def sentences(part: Any, request: Request | None = None) -> list[str]:
    """What a layer or a transport says of itself, line by line; else what its effects mean, or its docstring."""
    try:
        speak = getattr(part, "explain", None)
        if callable(speak) and not isinstance(part, type):
            said = speak(request)
            if not isinstance(said, str):
                return [f"(its explain() gave {type(said).__name__}, which is no text)"]
            return [one_line(line) for line in said.splitlines() if line.strip()]
    except Exception as error:  # noqa: BLE001 - a layer of anybody's: the others are still explained
        # The class alone: a text of somebody else's may quote the prompt.
        return [f"(its explain() raised {one_line(type(error).__name__)})"]
    return [EFFECTS[effect] for effect in EFFECTS if effect in effects_of(part)] or _documented(part)


def _documented(part: Any) -> list[str]:
    """The first sentence of the docstring that the author wrote, where there is one."""
    name = type(part).__name__
    text = getattr(part, "__doc__", None) if inspect.isroutine(part) else type(part).__doc__
    if not isinstance(text, str) or not text.strip() or type(part).__module__ == "functools":
        return []
    # That of a dataclass is made of its fields.
    return [] if text.startswith(f"{name}(") else [one_line(text.strip().splitlines()[0])]


def effects_of(part: Any) -> frozenset[str]:
    """The words that *part* declares; none where it declares nothing that makes sense."""
    effects = _said(part, "effects")
    if not isinstance(effects, frozenset | set | list | tuple):
        return frozenset()
    return frozenset([word for word in EFFECTS if word in effects])


def look(stack: Stack) -> tuple[list[Finding], str]:
    """What is to be said of the order of the layers, and why nothing is where it cannot be looked at, else ""."""
    try:
        return findings(stack), ""
    except ConfigurationError as error:
        return [], str(error)


def _said(part: Any, name: str) -> Any:
    """An attribute of anybody's layer, None where there is none or it cannot be read."""
    try:
        return getattr(part, name, None)
    except Exception:  # noqa: BLE001 - a property of anybody's
        return None


def name_of(part: Any) -> str:
    """What a picture calls *part*: the name of the function or of the class."""
    name = _said(part, "__name__")
    return one_line(name if isinstance(name, str) and name else type(part).__name__)


def picture_of(part: Any) -> str:
    """*part* with the settings that are not the usual ones, on one line."""
    kind: Any = type(part)
    if inspect.isroutine(part) or kind.__repr__ is object.__repr__:
        return name_of(part)
    try:
        return one_line(_shown(part))
    except Exception:  # noqa: BLE001 - a repr of anybody's
        return name_of(part)


def _shown(value: Any) -> str:
    """*value* as its repr says, but without the settings that are the usual ones."""
    import attrs

    kind: Any = type(value)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple) and kind is tuple:
        return f"[{', '.join([_shown(each) for each in value])}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join([f'{_shown(name)}: {_shown(each)}' for name, each in value.items()])}}}"
    if inspect.isroutine(value):
        return name_of(value)
    # A repr that somebody wrote hides what it hides: only one that attrs made is made anew.
    source = getattr(getattr(kind.__repr__, "__code__", None), "co_filename", "")
    if kind.__repr__ is not Layer.__repr__ and not source.startswith("<attrs"):
        return repr(value)
    settings = [
        f"{setting.alias}={_shown(own)}"
        for setting in attrs.fields(kind)
        if setting.init and setting.repr is True
        for own in [getattr(value, setting.name)]
        if not is_usual(own, setting.default)
    ]
    return f"{kind.__name__}({', '.join(settings)})"


def one_line(value: object) -> str:
    """The text of *value* on one line of sensible length, without what would steer a terminal."""
    text = " ".join(str(value).split())
    text = "".join([character if character.isprintable() else "�" for character in text])
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def duration(seconds: float) -> str:
    """A length of time as one says it: `0.5 s`, `90 s`, `12 hours`, `7 days`."""
    if math.isfinite(seconds):
        for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
            if seconds >= 2 * length and seconds % length == 0 and (unit != "minutes" or seconds > 600):
                return f"{seconds / length:g} {unit}"
    return f"{seconds:.6g} s"


def time_left(request: Request | None) -> float | None:
    """Seconds until the deadline of *request*, or None without one, or where no event loop runs to measure it."""
    try:
        return None if request is None else request.remaining
    except RuntimeError:
        return None


def _changed(stack: Stack) -> str:
    """Which layer changes what is asked, so that those below see another request."""
    changing = [name_of(part) for part in parts_of(stack) if effects_of(part) & _CHANGES]
    return f" (changed by {', '.join(changing)} for what is below)" if changing else ""


def at_worst_in_words(stack: Stack, request: Request | None = None) -> str:
    """`at_worst` as one sentence."""
    calls, seconds, asked_to_wait = at_worst(stack)
    left = time_left(request)
    if left is not None and _keeps_deadlines(stack):
        seconds, asked_to_wait = min(seconds, left), min(asked_to_wait, left)
    many = "no limit of requests to the provider" if math.isinf(calls) else f"at most {calls:.12g} request"
    if math.isfinite(calls):
        many += f"{'' if calls == 1 else 's'} to the provider"
    if math.isinf(seconds):
        time = "no limit of time"
    else:
        time = f"at most {duration(seconds)}"
        if asked_to_wait > seconds:
            longer = "no limit" if math.isinf(asked_to_wait) else duration(asked_to_wait)
            time += f" ({longer} where the provider asks for waits)"
    silent = list(_silent(stack))
    known = f", as far as is known of {', '.join(silent)}" if silent else ""
    return f"One call: {many}; {time}{known}."


def _keeps_deadlines(stack: Stack) -> bool:
    """Whether a layer ends a call, or each try of it, at the request's deadline."""
    below = isinstance(stack.transport, Stack) and _keeps_deadlines(stack.transport)
    return below or any([effects_of(layer) & {"bounds-time", "shares"} for layer in stack.layers])


def _silent(stack: Stack) -> Iterator[str]:
    """Layers that say neither what they do nor what effects they have."""
    for layer in stack.layers:
        if _said(layer, "effects") is None and _said(layer, "explain") is None:
            yield name_of(layer)
    if isinstance(stack.transport, Stack):
        yield from _silent(stack.transport)


def at_worst(part: Any) -> tuple[float, float, float]:
    """The requests to the provider that one call can become, and the seconds it can take; infinity for no limit.

    Two lengths: with the waits that the layers choose, and with the longest that the provider may ask for. Time to
    clean up after a limit, and time in which the reader of a stream holds it back, are not in them.
    """
    if not isinstance(part, Stack):
        return 1.0, math.inf, math.inf
    calls, own, asked = at_worst(part.transport)
    for layer in reversed(part.layers):
        reckon = getattr(type(layer), "_at_worst", None)
        if reckon is not None:
            calls, own, asked = reckon(layer, calls, own, asked)
            continue
        effects = effects_of(layer)
        if effects & _ASKS_AGAIN and calls:
            attempts = _said(layer, "attempts")
            calls = calls * attempts if type(attempts) is int and attempts > 0 else math.inf
        if effects & (_ASKS_AGAIN | _WAITS):
            own = asked = math.inf
    return calls, own, asked
