"""What other packages bring: layers, transports, stores and backoffs that are found by name.

    # pyproject.toml of a package
    [project.entry-points."llamina.layers"]
    rate-limit = "llamina_rate_limit:RateLimit"

    for plugin in plugins("layer"):
        print(plugin.name, plugin.package, plugin.version, plugin.problem)

    resolve("layer", "rate_limit")               # the class
    resolve("layer", "my_package.layers:Limit")  # what is installed nowhere, by its module

`-` and `_` are the same in a name. What llamina brings itself always wins: a plugin of such a name is reported and not
used. A name that two packages claim is refused until one of them is written as `module:attribute`.

The one surprise: looking for plugins imports none of them. A broken one is noticed, by its name, when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import Distribution, distributions
from typing import Any

from attrs import evolve, field, frozen

from .errors import ConfigurationError

__all__ = ["BUILT_IN", "KINDS", "Plugin", "import_object", "names", "normalised", "plugins", "resolve"]

KINDS = {
    "layer": "llamina.layers",
    "transport": "llamina.transports",
    "store": "llamina.stores",
    "backoff": "llamina.backoffs",
}
"""What a plugin can be, and the entry-point group in which it is announced."""

BUILT_IN: dict[str, dict[str, str]] = {
    "layer": {
        "logger": "llamina.layers.logger:Logger",
        "cache": "llamina.layers.cache:Cache",
        "dedup": "llamina.layers.dedup:Dedup",
        "retry": "llamina.layers.retry:Retry",
        "cost_meter": "llamina.layers.cost:CostMeter",
        "circuit_breaker": "llamina.layers.circuit_breaker:CircuitBreaker",
        "timeout": "llamina.layers.timeout:Timeout",
        "map_text": "llamina.layers.map_text:map_text",
        "recorder": "llamina.layers.recorder:Recorder",
        "chaos": "llamina.layers.chaos:Chaos",
    },
    "transport": {
        "echo": "llamina.transports.echo:EchoTransport",
        "http": "llamina.transports.http:HTTPTransport",
        "openai": "llamina.transports.openai:OpenAITransport",
        "anthropic": "llamina.transports.anthropic:AnthropicTransport",
    },
    "store": {
        "memory": "llamina.stores.memory:MemoryCache",
        "sqlite": "llamina.stores.sqlite:SQLiteCache",
    },
    "backoff": {
        "constant": "llamina.policy.backoff:Constant",
        "linear": "llamina.policy.backoff:Linear",
        "exponential": "llamina.policy.backoff:Exponential",
        "fibonacci": "llamina.policy.backoff:Fibonacci",
        "decorrelated_jitter": "llamina.policy.backoff:DecorrelatedJitter",
        "adaptive": "llamina.policy.adaptive:Adaptive",
    },
}
"""The names of what llamina brings itself, each with where it is."""

_REMEDY = "if the package is yours, mend its entry point or its code; else report it, or install another version"
_NOBODY = "?"
"""The package whose metadata do not name it."""


@frozen
class Plugin:
    """What an installed package announces.

    Attributes:
        kind: "layer", "transport", "store" or "backoff".
        name: as it is written in a stack file.
        target: where it is, as `module:attribute`.
        package, version: who brings it.
        shadowed: whether a built-in has the name, so that this one is not used.
        problem: why it cannot be used by its name; "" if nothing is known to be wrong. A fault that only shows when it
            is imported shows in `load`.
    """

    kind: str
    name: str
    target: str
    package: str
    version: str
    shadowed: bool = field(default=False, kw_only=True)
    problem: str = field(default="", kw_only=True)

    def load(self) -> Callable[..., Any]:
        """Import it.

        Raises:
            ConfigurationError: it cannot be imported, or is nothing that can be called; names the plugin, its package
                and the reason, and keeps the cause.
        """
        whose = f"the {self.kind} {self.name!r} of the package {self.package} {self.version}".rstrip()
        if not self.target:
            raise ConfigurationError(f"{whose} cannot be used: {self.problem}")
        return _imported(self.target, whose, _REMEDY)


def normalised(name: str) -> str:
    """A name as it is compared: `-` is `_`."""
    return name.strip().replace("-", "_")


def plugins(kind: str | None = None) -> list[Plugin]:
    """What installed packages announce, sorted by kind and name; none is imported, and a broken one hides no other.

    Raises:
        ConfigurationError: *kind* is none of `KINDS`.
    """
    kinds = KINDS if kind is None else {kind: _group(kind)}
    order = list(KINDS)
    seen: set[str] = set()
    found: list[Plugin] = []
    for distribution in distributions():
        brought = list(_announced(distribution, kinds))
        # A package in two folders of sys.path counts where it is found first, as for an import.
        if brought and (who := normalised(brought[0].package).lower()) not in seen:
            seen.update({who} - {_NOBODY})
            found += {(one.kind, one.name): one for one in reversed(brought)}.values()
    return sorted(_judged(found), key=lambda one: (order.index(one.kind), one.name, one.package))


def names(kind: str) -> list[str]:
    """Every name that `resolve` knows: the built-ins in the order of the docs, then those of plugins."""
    _group(kind)
    return [*BUILT_IN[kind], *dict.fromkeys(plugin.name for plugin in plugins(kind) if not plugin.problem)]


def resolve(kind: str, name: str, *, place: str = "") -> Callable[..., Any]:
    """What *name* stands for: a built-in, else a plugin, else what `module:attribute` imports.

    Args:
        kind: "layer", "transport", "store" or "backoff".
        name: as in a stack file.
        place: where it is written, for the error: "layers[2].type".

    Raises:
        ConfigurationError: nothing has this name (the nearest names are given), two packages claim it, or it cannot be
            imported.
    """
    _group(kind)
    where = f"{place}: " if place else ""
    if ":" in name:
        return _imported(name, f"{where}the {kind} {name!r}", "write it as module:attribute, of what is installed here")
    wanted = normalised(name)
    own = BUILT_IN[kind].get(wanted)
    if own is not None:
        return _imported(own, f"{where}the {kind} {wanted!r}", "install llamina anew")
    found = plugins(kind)
    claims = [plugin for plugin in found if plugin.name == wanted]
    if len(claims) == 1:
        try:
            return claims[0].load()
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}{error.message}") from error.__cause__
    if claims:
        raise ConfigurationError(
            f"{where}the {kind} {wanted!r} is announced by {_listed([plugin.package for plugin in claims], 'and')}; "
            f"write type = {_listed([repr(plugin.target) for plugin in claims], 'or')}"
        )
    raise ConfigurationError(f"{where}there is no {kind} {name!r}; {_meant(kind, wanted, found)}")


def _meant(kind: str, wanted: str, found: list[Plugin]) -> str:
    """What may have been meant by a name that nothing has."""
    other = next((other for other, own in BUILT_IN.items() if wanted in own), None)
    if other is not None:
        return f"{wanted} is a {other}, and stands where one is asked for"
    known = [*BUILT_IN[kind], *dict.fromkeys(plugin.name for plugin in found if plugin.target)]
    near = get_close_matches(wanted, known, n=3, cutoff=0.6)
    if near:
        return (
            f"did you mean {_listed([repr(one) for one in near], 'or')}? One of your own is written as module:attribute"
        )
    return f"use one of {', '.join(known)}, install the package that brings it, or write module:attribute"


def import_object(target: str, whose: str) -> Any:
    """What `module:attribute` names, whatever it is; *whose* is what an error calls it.

    Raises:
        ConfigurationError: it is written otherwise, or cannot be imported.
    """
    return _found(target, whose, "write it as module:attribute, of what is installed here")


def _group(kind: str) -> str:
    if kind not in KINDS:
        raise ConfigurationError(f"plugins are of the kinds {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind]


def _announced(distribution: Distribution, kinds: dict[str, str]) -> Iterator[Plugin]:
    """The plugins of one package. Its metadata are written by strangers: what cannot be read is told, not raised."""
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except Exception:  # noqa: BLE001 - nothing says that it has to do with llamina
        return
    if "llamina." not in text:
        return
    package, version = _who(distribution)
    try:
        entries = list(distribution.entry_points)
    except Exception as error:  # noqa: BLE001 - any fault of a stranger's file
        reason = f"its entry points cannot be read ({type(error).__name__}: {error})"
        for kind, group in kinds.items():
            if group in text:
                yield Plugin(kind, normalised(package), "", package, version, problem=reason)
        return
    for kind, group in kinds.items():
        for entry in entries:
            if entry.group == group:
                name = normalised(entry.name)
                whole = name and entry.value
                reason = (
                    "" if whole else f"an entry point is written name = module:attribute, not {name} = {entry.value}"
                )
                yield Plugin(kind, name, entry.value if whole else "", package, version, problem=reason)
            elif _is_misspelt(entry.group, group):
                reason = f"it stands in the group {entry.group!r}, which nobody reads; did you mean {group!r}?"
                yield Plugin(kind, normalised(entry.name), "", package, version, problem=reason)


def _is_misspelt(written: str, group: str) -> bool:
    """Whether *written* was to be *group*. One that is like none may be for another version of llamina."""
    if written in KINDS.values():
        return False
    whose, _, word = written.lower().partition(".")
    return whose == "llamina" and bool(get_close_matches(word, [group.partition(".")[2]], cutoff=0.75))


def _who(distribution: Distribution) -> tuple[str, str]:
    try:
        return str(distribution.metadata["Name"] or _NOBODY), str(distribution.metadata["Version"] or "")
    except Exception:  # noqa: BLE001 - metadata that is missing or no text
        return _NOBODY, ""


def _judged(found: list[Plugin]) -> Iterator[Plugin]:
    for plugin in found:
        rivals = [one for one in found if (one.kind, one.name) == (plugin.kind, plugin.name) and one is not plugin]
        if plugin.problem:
            yield plugin
        elif plugin.name in BUILT_IN[plugin.kind] or (plugin.kind, plugin.name) == ("transport", "stack"):
            says = (
                f"llamina has a {plugin.kind} of this name, which is used; write type = {plugin.target!r} for this one"
            )
            yield evolve(plugin, shadowed=True, problem=says)
        elif rivals:
            others = _listed([rival.package for rival in rivals], "and")
            yield evolve(plugin, problem=f"{others} announces it too; write type = {plugin.target!r} for this one")
        else:
            yield plugin


def _imported(target: str, whose: str, remedy: str) -> Callable[..., Any]:
    found = _found(target, whose, remedy)
    if not callable(found):
        raise ConfigurationError(f"{whose} is {type(found).__name__} {target!r}, which cannot be called; {remedy}")
    imported: Callable[..., Any] = found
    return imported


def _found(target: str, whose: str, remedy: str) -> Any:
    module, _, attribute = target.partition(":")
    attribute = attribute.partition("[")[0].strip()  # an entry point may name extras behind it
    if not module.strip() or not attribute:
        raise ConfigurationError(f"{whose} is given as {target!r}, which is not module:attribute; {remedy}")
    try:
        found: Any = importlib.import_module(module.strip())
        for name in attribute.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # a module may raise anything, or leave, while it is imported
        raise ConfigurationError(f"{whose} cannot be imported: {type(error).__name__}: {error}; {remedy}") from error
    return found


def _listed(words: list[str], joined: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joined} {words[-1]}"
