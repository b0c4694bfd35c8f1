"""Which orders of layers are wrong, and why: from the effects that layers declare by a plain attribute.

    build_stack([Retry(), Cache()], transport)     # StackOrderWarning: Cache (layers[1]) stands inside Retry ...
    findings(stack)                                # all that is to be said of it, notes included

    class Limit:
        effects = frozenset({"limits-rate"})       # a layer of yours takes part

A transport that is a stack itself is looked into: its layers are further inner ones. `build_stack` tells only of what
its own layers have to do with; the inner stack was checked when it was built.

The one surprise: a layer without `effects` is never complained about; nothing is known of it.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from ._order_rules import RULES, Part, Rule
from .errors import ConfigurationError
from .stack import Stack

__all__ = ["EFFECTS", "RULES", "Finding", "Rule", "StackOrderWarning", "enforce", "findings"]

EFFECTS = {
    "short-circuits": "may answer by itself, without the layers below",
    "stores": "keeps answers for later calls",
    "shares": "gives one call below to several callers at once",
    "replays": "may call below again",
    "needs-commit-point": "may call below again only while nothing of a stream was delivered",
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

_KNOWN = frozenset(EFFECTS)


class StackOrderWarning(UserWarning):
    """The order of a stack is known to be wrong; the message says why, and what to do."""


class Finding(msgspec.Struct, frozen=True):
    """One thing to be said of the order of a stack.

    Attributes:
        rule: the name of the rule, as in `RULES`.
        severity: "wrong", or a "note" of what some may want so.
        outer, inner: the two layers, with their places: `Retry (layers[0])`, `Cache (transport.layers[2])`.
        says: what goes wrong.
        mend: what to do about it.
    """

    rule: str
    severity: Literal["wrong", "note"]
    outer: str
    inner: str
    says: str
    mend: str

    def __str__(self) -> str:
        return f"{self.inner} stands inside {self.outer}: {self.says}; {self.mend} [{self.rule}]"


def findings(stack: Stack) -> list[Finding]:
    """What is to be said of the order of *stack*: what is wrong first, then the notes.

    For each layer a rule is reported once, with the nearest layer inside that it is about.

    Raises:
        ConfigurationError: the `effects` of a layer cannot be read, or hold a word that is not in `EFFECTS`.
    """
    parts = list(_parts(stack))
    having: dict[str, list[int]] = {}
    for place, part in enumerate(parts):
        for word in part.effects or ():
            having.setdefault(word, []).append(place)
    return [
        Finding(
            rule.name, rule.severity, parts[outer].name, parts[inner].name, rule.says, _mend(rule, parts, outer, inner)
        )
        for rule in RULES.values()
        for outer, inner in _matches(rule, parts, having)
    ]


def enforce(stack: Stack, *, refuse: bool, stacklevel: int, nested: bool = True) -> None:
    """Warn of each order in *stack* that is wrong, or refuse the stack for all of them; notes are let pass.

    Args:
        stack: what was built.
        refuse: raise instead of warning.
        stacklevel: whose line a warning points at, as in `warnings.warn`: 2 is who called this function.
        nested: also what is wrong within a stack that is the transport; False where that was told when it was built.

    Raises:
        ConfigurationError: with *refuse*, an order is wrong; in any case what `findings` raises.
    """
    wrong = [
        finding
        for finding in findings(stack)
        if finding.severity == "wrong" and (nested or not finding.outer.rpartition("(")[2].startswith("transport."))
    ]
    if refuse and wrong:
        listed = "\n".join([f"- {finding}" for finding in wrong])
        raise ConfigurationError(f"the order of the layers is wrong:\n{listed}")
    for finding in wrong:
        warnings.warn(str(finding), StackOrderWarning, stacklevel=stacklevel)


def _matches(rule: Rule, parts: list[Part], having: dict[str, list[int]]) -> Iterator[tuple[int, int]]:
    outers = [place for word in rule.outer for place in having.get(word, ())]
    inners = [place for word in rule.inner for place in having.get(word, ())] if outers else ()
    if not inners:
        return
    for outer in sorted(set(outers)):
        for inner in sorted(set(inners)):
            if inner > outer and (rule.when is None or rule.when(parts, outer, inner)):
                yield outer, inner
                break


def _mend(rule: Rule, parts: list[Part], outer: int, inner: int) -> str:
    return rule.mend.format(outer=_bare(parts[outer]), inner=_bare(parts[inner]))


def _bare(part: Part) -> str:
    """The name without the place, which is what will change."""
    return part.name.rpartition(" (")[0]


def _parts(stack: Stack, path: str = "") -> Iterator[Part]:
    """The layers of *stack*, outermost first, then its transport: as one layer, or as those that it is made of."""
    for place, layer in enumerate(stack.layers):
        yield _part(layer, f"{path}layers[{place}]")
    if isinstance(stack.transport, Stack):
        yield from _parts(stack.transport, f"{path}transport.")
    else:
        yield _part(stack.transport, f"{path}transport")


def _part(layer: Any, place: str) -> Part:
    name = f"{layer.__name__ if inspect.isroutine(layer) else type(layer).__name__} ({place})"
    try:
        effects = layer.effects
    except Exception as error:
        if isinstance(error, AttributeError) and inspect.getattr_static(layer, "effects", None) is None:
            return Part(name, layer, None)
        raise ConfigurationError(
            f"the effects of {name} could not be read: {error!r}; make it a plain attribute, frozenset({{...}})"
        ) from error
    if effects is None:
        return Part(name, layer, None)
    if isinstance(effects, str) or not isinstance(effects, frozenset | set | list | tuple):
        raise ConfigurationError(
            f'the effects of {name} must be a set of words, got {effects!r}; write effects = frozenset({{"stores"}})'
        )
    for word in effects:
        if not isinstance(word, str) or word not in _KNOWN:
            raise ConfigurationError(f"the effects of {name} have an unknown word {word!r}; {_nearest(word)}")
    return Part(name, layer, frozenset(effects))


def _nearest(word: Any) -> str:
    near = difflib.get_close_matches(str(word), EFFECTS, 1)
    return f"did you mean {near[0]!r}?" if near else f"the words are {', '.join(EFFECTS)}"
