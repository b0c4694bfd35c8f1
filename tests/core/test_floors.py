"""The architecture, as tests: floors, no bare clocks, a light import, an exact public surface."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llamina

SRC = Path(llamina.__file__).parent
FLOORS = {
    "errors": 0,
    "messages": 0,
    "events": 0,
    "secret": 0,
    "_lazy": 0,
    "_media": 0,
    "_schema": 1,
    "_hints": 0,
    "_request_values": 1,
    "call": 1,
    "identity": 1,
    "policy": 1,
    "protocol": 2,
    "sink": 2,
    "record": 2,
    "edge": 2,
    "stream": 2,
    "layer": 2,
    "stack": 2,
    "order": 2,
    "_order_rules": 2,
    "explain": 2,
    "draw": 2,
    "tools": 2,
    "structured": 2,
    "layers": 3,
    "routing": 3,
    "stores": 3,
    "wire": 3,
    "transports": 3,
    "client": 4,
    "_client_plan": 4,
    "_client_stream": 4,
    "_client_talk": 4,
    "_client_tools": 4,
    "blocking": 4,
    "_blocking_bridge": 4,
    "_blocking_loop": 4,
    "_blocking_stream": 4,
    "doors": 4,
    "config": 4,
    "plugins": 4,
    "pictures": 4,
    "_config_read": 4,
    "_config_write": 4,
    "_config_schema": 4,
    "_config_environment": 4,
    "_config_files": 4,
    "_config_prices": 4,
    "_config_rules": 4,
    "_config_secrets": 4,
    "_config_settings": 4,
    "_config_values": 4,
    "cli": 4,
    "testing": 4,  # beside the floors: only the edges may use it
    "__main__": 4,
}
MODULES = [
    path for path in sorted(SRC.rglob("*.py")) if path.relative_to(SRC).parts[0] not in ("testing", "__init__.py")
]


def imports(path: Path) -> list[str]:
    """The llamina modules that a file imports when it is loaded or run, as dotted names below the package."""
    found: list[str] = []
    package = ["llamina", *path.relative_to(SRC).parts[:-1]]
    tree = ast.parse(path.read_text())
    typing_only = [
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for part in ast.walk(statement)
    ]
    for node in ast.walk(tree):
        if node in typing_only:  # a signature may name what stands above: it is never loaded
            continue
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found += [name] if node.module else [f"{name}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name.removeprefix("llamina.") for name in found if name.startswith("llamina.")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_its_own_floor_and_those_below(path: Path) -> None:
    """Nothing imports upwards; a layer imports no other layer, the wire no transport."""
    home = path.relative_to(SRC).parts[0].removesuffix(".py")

    targets = [name.partition(".") for name in imports(path)]

    upwards = [first for first, _, _ in targets if FLOORS[first] > FLOORS[home]]
    assert not upwards
    if FLOORS[home] == 3:
        assert not [
            first for first, _, _ in targets if FLOORS[first] == 3 and first not in (home, *ALLOWED.get(home, ()))
        ]
    if home == "layers":
        siblings = [rest for first, _, rest in targets if first == "layers" and not rest.startswith("_")]
        assert not siblings


ALLOWED = {"layers": ("stores",), "transports": ("wire",)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_module_reads_a_bare_clock_or_the_global_random(path: Path) -> None:
    """Durations come from the loop's clock and chance from an injected generator, so that tests can steer both."""
    own_thread = path.name == "_sqlite_file.py"  # it waits for a lock on a thread of its own, never on the loop
    if path.parent.name == "cli" or own_thread:
        pytest.skip("a program, or a thread of its own, may sleep")
    calls = [
        f"{node.func.value.id}.{node.func.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
    ]

    assert not [
        call for call in calls if call == "time.sleep" or (call.startswith("random.") and call != "random.Random")
    ]


def test_importing_llamina_loads_no_sdk_and_no_http_client() -> None:
    """`import llamina` stays light: what is heavy is loaded when it is first used."""
    heavy = [
        "httpx",
        "httpx2",
        "aiohttp",
        "openai",
        "anthropic",
        "pydantic",
        "redis",
        "cattrs",
        "rich",
        "typer",
        "freezegun",
    ]
    code = f"import sys, llamina; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_everything_that_is_exported_can_be_imported() -> None:
    """`__all__` is exact: each name exists, and each late name is in it."""
    missing = [name for name in llamina.__all__ if not hasattr(llamina, name)]

    assert not missing
    assert set(llamina._LATE) <= set(llamina.__all__)
