"""The reference of every public name, as Markdown made of the live signatures and docstrings.

    pages = api_pages()             # {"stack.md": "# Stacks...", ...}

A page lists modules. Of a module it shows the names of `__all__` that `llamina` or one of the open modules exports.
A public name that would be on no page is an error that says where to add it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docstrings import as_markdown, first_sentence
from signatures import annotation, signature

MORE_THAN_A_SCREEN = 600


@dataclass(frozen=True)
class Page:
    """One page: the modules whose names it shows, in this order."""

    name: str
    title: str
    about: str
    modules: tuple[str, ...]


PAGES = [
    Page("stack", "Stacks", "Layers round a transport, composed, read as a stream, checked and shown.",
         ("llamina.stack", "llamina.stream", "llamina.order")),
    Page("protocol", "The protocol", "Requests, responses, and what a layer is.",
         ("llamina.protocol", "llamina.sink", "llamina.layer")),
    Page("messages", "Messages and events", "What a conversation and a stream are made of.",
         ("llamina.messages", "llamina.events")),
    Page("call", "The record of a call", "Which attempts were made, and what each of them cost.", ("llamina.call",)),
    Page("errors", "Errors", "Everything that a call can raise on purpose.", ("llamina.errors",)),
    Page("layers", "Layers", "The shipped layers, one concern each.",
         ("llamina.layers.logger", "llamina.layers.cache", "llamina.layers.dedup", "llamina.layers.retry",
          "llamina.layers.cost", "llamina.layers.circuit_breaker", "llamina.layers.timeout",
          "llamina.layers.map_text", "llamina.layers.recorder", "llamina.layers.chaos")),
    Page("policies", "Policies", "Backoffs, budgets and the classifier: pure decisions that layers ask for.",
         ("llamina.policy.backoff", "llamina.policy.adaptive", "llamina.policy.retry_budget",
          "llamina.policy.classify", "llamina.policy.accounts")),
    Page("stores", "Stores", "Where a cache keeps its answers.", ("llamina.stores",)),
    Page("client", "The client", "A small face of a stack for new code, and the same without `await`.",
         ("llamina.client", "llamina.blocking")),
    Page("tools", "Tools and structured answers", "Functions that a model may call, and answers of a type.",
         ("llamina.tools", "llamina.structured")),
    Page("transports", "Transports", "What answers at the end of a stack.", ("llamina.transports",)),
    Page("doors", "Doors", "HTTP clients for SDKs that lead into a stack.", ("llamina.doors",)),
    Page("wire", "Wires", "Codecs: the JSON of providers to and from requests, responses and events.",
         ("llamina.wire.openai_chat", "llamina.wire.openai_responses", "llamina.wire.anthropic_messages",
          "llamina.wire.openai_embeddings", "llamina.wire.sse")),
    Page("config", "Configuration and plugins", "A stack from a file, and what installed packages add to it.",
         ("llamina.config", "llamina.plugins")),
    Page("testing", "Testing", "Fakes that play scripts, simulated time, a simulated provider, conformance checks.",
         ("llamina.testing",)),
]  # fmt: skip

OPEN = {
    "llamina.blocking", "llamina.client", "llamina.config", "llamina.doors", "llamina.layer", "llamina.order", "llamina.plugins",
    "llamina.stores", "llamina.structured", "llamina.testing", "llamina.tools", "llamina.transports",
    "llamina.wire.anthropic_messages", "llamina.wire.openai_chat", "llamina.wire.openai_embeddings",
    "llamina.wire.openai_responses", "llamina.wire.sse",
}  # fmt: skip
"""Modules whose `__all__` is public; of the others only what `llamina` exports."""

CHOSEN = {
    "llamina.order": ["EFFECTS", "Finding", "RULES", "Rule", "StackOrderWarning", "findings"],
}
"""Open modules of which the rest serves other modules."""


def api_pages() -> dict[str, str]:
    """The text of each page, by its file name, and `index.md`, which lists them."""
    homes = imports_of("llamina")
    listed = {module for page in PAGES for module in page.modules}
    lost = sorted(
        f"{name} of {module}" for name, (module, _) in homes.items() if not listed & {module, module.rpartition(".")[0]}
    )
    if lost:
        raise SystemExit(
            f"public names on no page: {', '.join(lost)}; add their module to PAGES in {Path(__file__).name}"
        )
    pages = {f"{page.name}.md": "\n".join(page_of(page, homes)) for page in PAGES}
    return {"index.md": index(homes), **pages}


def index(homes: dict[str, tuple[str, str]]) -> str:
    """The page that leads to the others: each name with the first sentence that is said of it."""
    lines = [
        "# API",
        "",
        "Every public name with its signature and its docstring, written by `python tools/generate_docs.py`.",
        "What belongs together by purpose is in [all names](../names.md).",
    ]
    for page in PAGES:
        lines += ["", f"## [{page.title}]({page.name}.md)", "", page.about, ""]
        for module_name in page.modules:
            for name in names_of(module_name, homes):
                told = (
                    first_sentence(inspect.getdoc(found(module_name, name)) or "")
                    if documented(module_name, name)
                    else ""
                )
                lines.append(
                    f"- [`{name}`]({page.name}.md#{anchor(module_name, name)})" + (f": {told}" if told else "")
                )
    return "\n".join(lines) + "\n"


def page_of(page: Page, homes: dict[str, tuple[str, str]]) -> list[str]:
    """The lines of one page."""
    lines = [f"# {page.title}", "", page.about]
    sections = page.name == "wire"
    for module_name in page.modules:
        module = importlib.import_module(module_name)
        if len(page.modules) == 1:
            lines = [lines[0], "", *as_markdown(inspect.getdoc(module) or page.about)]
        elif sections:
            lines += ["", f"## {module_name}", "", *as_markdown(inspect.getdoc(module) or "")]
        for name in names_of(module_name, homes):
            lines += ["", *entry(module_name, name, "###" if sections else "##")]
    return [*lines, ""]


def names_of(module_name: str, homes: dict[str, tuple[str, str]]) -> list[str]:
    """The public names of a module, in the order of its source where that is one file."""
    module = importlib.import_module(module_name)
    names = CHOSEN.get(module_name) or list(module.__all__)
    if module_name not in OPEN:
        names = [name for name in names if homes.get(name) == (module_name, name)]
    order = source_order(module)
    return sorted(names, key=lambda name: (order.get(name, len(order)), name.lower()))


def entry(module_name: str, name: str, heading: str) -> list[str]:
    """What is said of one name."""
    thing = found(module_name, name)
    origin = origin_of(module_name, name)
    lines = [f"{heading} `{name}` {{ #{anchor(module_name, name)} }}", ""]
    if isinstance(thing, type):
        return lines + of_class(thing, name, origin)
    if inspect.isroutine(thing):
        said = as_markdown(inspect.getdoc(thing) or "")
        return [*lines, *fenced(f"from {origin} import {name}\n\n{signature(thing, name)}"), "", *said]
    value, told = data(page_origin(module_name, name), name)
    shown = f"{name} = {value}" if len(value) < MORE_THAN_A_SCREEN else f"{name}: {type(thing).__name__}"
    return [*lines, *fenced(f"from {origin} import {name}\n\n{shown}"), *(["", *as_markdown(told)] if told else [])]


def of_class(kind: type, name: str, origin: str) -> list[str]:
    """A class: how it is built, its docstring, and its public members."""
    bases = ", ".join(base.__name__ for base in kind.__bases__ if shows(base))
    plain = issubclass(kind, BaseException) and "__init__" not in vars(kind)
    built = f"class {name}({bases})" if plain else "class " + signature(kind, name)
    said = as_markdown(inspect.getdoc(kind) or "") if kind.__doc__ else []
    lines = [*fenced(f"from {origin} import {name}\n\n{built}"), "", *said]
    if bases and not plain:
        lines += ["", f"Is a `{bases.replace(', ', '`, `')}`."]
    members = members_of(kind)
    return lines + (["", "**Members**", "", *members] if members else [])


def shows(base: type) -> bool:
    """Whether a reader wants to know that a class is built on *base*."""
    return issubclass(base, BaseException) or (is_ours(base) and not base.__name__.startswith("_"))


def is_ours(kind: type) -> bool:
    """Whether a class is of this package."""
    return kind.__module__.split(".")[0] == "llamina"


def members_of(kind: type) -> list[str]:
    """A list of the public methods and properties of a class, those of private bases too."""
    own = [base for base in kind.__mro__ if base is kind or (base.__name__.startswith("_") and is_ours(base))]
    members: dict[str, Any] = {}
    for base in own:
        for name, member in vars(base).items():
            if name == "__call__" or not name.startswith("_"):
                members.setdefault(name, member)
    bullets = [lines for name, member in members.items() if (lines := member_lines(kind, name, member))]
    # A list in a list ends at a blank line, and nowhere else.
    apart = [""] if any(len(lines) > 1 for lines in bullets) else []
    return [line for lines in bullets for line in [*lines, *apart]][: -1 if apart else None]


def member_lines(kind: type, name: str, member: Any) -> list[str]:
    """One bullet: the signature, then what is said of it; nothing for what is neither a method nor a property."""
    bare = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if isinstance(bare, property):
        result = annotation(bare.fget.__annotations__.get("return")) if bare.fget else ""
        head = f"{name}: {result}" if result else name
    elif inspect.isfunction(bare):
        waits = "await " if inspect.iscoroutinefunction(bare) else ""
        owner = f"{kind.__name__}." if bare is not member else ""
        head = waits + signature(bare, owner + name, bound=not isinstance(member, staticmethod))
    else:
        return []
    said = as_markdown(inspect.getdoc(bare) or "")
    if "\n" in head:  # too long for a line of its own
        short = head.split("(", 1)[0] + "(...)"
        lines = [f"- `{short}`", "", *fenced(head), "", *said] if said else [f"- `{short}`", "", *fenced(head)]
    else:
        lines = [f"- `{head}`" + (f": {said[0]}" if said else ""), *said[1:]]
    return [lines[0], *[f"    {line}" if line else "" for line in lines[1:]]]


@functools.cache
def imports_of(package: str) -> dict[str, tuple[str, str]]:
    """Which module each name of a package's `__all__` comes from, and how it is called there."""
    module = importlib.import_module(package)
    homes: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            for alias in node.names:
                homes[alias.asname or alias.name] = (f"{package}.{node.module}", alias.name)
    return {name: homes[name] for name in module.__all__ if name in homes}


def page_origin(module_name: str, name: str) -> str:
    """The module in which a name is defined."""
    module = importlib.import_module(module_name)
    if hasattr(module, "__path__"):
        return imports_of(module_name).get(name, (module_name, name))[0]
    return module_name


def found(module_name: str, name: str) -> Any:
    """The thing that a module calls so."""
    return getattr(importlib.import_module(module_name), name)


def documented(module_name: str, name: str) -> bool:
    """Whether the docstring of the thing is its own, and not that of its type."""
    thing = found(module_name, name)
    return (isinstance(thing, type) and thing.__doc__ is not None) or inspect.isroutine(thing)


def anchor(module_name: str, name: str) -> str:
    """The address of a name on its page: the same whatever else is on it."""
    return f"{origin_of(module_name, name)}.{name}"


def origin_of(module_name: str, name: str) -> str:
    """The shortest module that a reader imports the name from."""
    return "llamina" if imports_of("llamina").get(name, ("",))[0] == page_origin(module_name, name) else module_name


def tree_of(module: types.ModuleType) -> ast.Module:
    """The syntax of a module."""
    return ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))


def source_order(module: types.ModuleType) -> dict[str, int]:
    """The line at which each name of a module is defined."""
    lines: dict[str, int] = {}
    for node in tree_of(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            lines[node.name] = node.lineno
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    lines[target.id] = node.lineno
    return lines


def data(module_name: str, name: str) -> tuple[str, str]:
    """The source of the value of a constant, and the string that stands below it."""
    body = tree_of(importlib.import_module(module_name)).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets) and node.value is not None:
            told = following.value if isinstance(following, ast.Expr) else None
            text = told.value if isinstance(told, ast.Constant) and isinstance(told.value, str) else ""
            return ast.unparse(node.value), inspect.cleandoc(text)
    return "...", ""


def fenced(code: str) -> list[str]:
    """A block of code; `py`, for what is marked `python` in the docs is executed."""
    return ["```py", *code.splitlines(), "```"]
