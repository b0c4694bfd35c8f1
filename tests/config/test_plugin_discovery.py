"""Plugins: found by their entry points, imported when they are used, and never a danger to each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llamina import ConfigurationError, build_stack, load_stack
from llamina.plugins import BUILT_IN, KINDS, Plugin, names, plugins, resolve
from llamina.transports import EchoTransport

LAYER = """
from attrs import frozen

@frozen
class Limit:
    limit: int = 3

    def __call__(self, call_next):
        return call_next
"""
Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package on the path: its metadata, and a module of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(package: str, entry_points: str, source: str = LAYER, *, metadata: str = "") -> str:
        module = package.replace("-", "_")
        folder = tmp_path / f"{module}-1.5.dist-info"
        folder.mkdir()
        says = metadata or f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n"
        (folder / "METADATA").write_text(says)
        (folder / "entry_points.txt").write_bytes(entry_points.encode("latin-1"))
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return module

    return put


def mine(kind: str | None = None) -> list[Plugin]:
    """The plugins that a test has put there."""
    return [plugin for plugin in plugins(kind) if plugin.package.startswith("stranger") or plugin.package == "?"]


def test_a_plugin_is_found_by_its_name(install: Install) -> None:
    """With its package and version, and without being imported."""
    module = install("stranger-limit", "[llamina.layers]\nrate-limit = stranger_limit:Limit\n")

    found = mine("layer")

    assert found == [Plugin("layer", "rate_limit", "stranger_limit:Limit", "stranger-limit", "1.5")]
    assert "rate_limit" in names("layer")
    assert module not in sys.modules


@pytest.mark.parametrize("name", ["rate-limit", "rate_limit"])
def test_a_plugin_is_used_in_a_file_by_its_name(install: Install, name: str) -> None:
    """A stroke is as good as an underscore; the stack says the name again."""
    install("stranger-limit", "[llamina.layers]\nrate-limit = stranger_limit:Limit\n")

    stack = load_stack({"transport": "echo", "layers": [{"type": name, "limit": 7}]})

    assert stack.layers[0].limit == 7
    assert stack.to_config()["layers"] == [{"type": "rate_limit", "limit": 7}]


def test_plugins_of_every_kind_are_found(install: Install) -> None:
    """Layers, transports, stores and backoffs."""
    groups = "\n".join([f"[{group}]\nlimit = stranger_all:Limit" for group in KINDS.values()])
    install("stranger-all", groups)

    found = mine()

    assert [plugin.kind for plugin in found] == ["layer", "transport", "store", "backoff"]
    assert all(resolve(plugin.kind, "limit").__name__ == "Limit" for plugin in found)


def test_a_built_in_always_wins(install: Install) -> None:
    """A package cannot take a name over; it is told so, and can be written out."""
    install("stranger-retry", "[llamina.layers]\nretry = stranger_retry:Limit\n")

    (found,) = mine("layer")

    assert found.shadowed
    assert "'stranger_retry:Limit'" in found.problem
    assert resolve("layer", "retry").__module__ == "llamina.layers.retry"
    assert resolve("layer", "stranger_retry:Limit").__name__ == "Limit"


def test_two_packages_with_one_name_are_told_apart_by_hand(install: Install) -> None:
    """Neither is chosen; both are named, with what to write."""
    install("stranger-a", "[llamina.layers]\nlimit = stranger_a:Limit\n")
    install("stranger-b", "[llamina.layers]\nlimit = stranger_b:Limit\n")

    with pytest.raises(ConfigurationError) as caught:
        load_stack({"transport": "echo", "layers": ["limit"]})
    stack = load_stack({"transport": "echo", "layers": ["stranger_b:Limit"]})

    assert "stranger-a and stranger-b" in str(caught.value)
    assert "type = 'stranger_a:Limit' or 'stranger_b:Limit'" in str(caught.value)
    assert [plugin.problem != "" for plugin in mine("layer")] == [True, True]
    assert stack.to_config()["layers"] == [{"type": "stranger_b:Limit"}]


BROKEN = {
    "a module that is missing": ("x = nowhere_at_all:Limit", "", "ModuleNotFoundError"),
    "an attribute that is missing": ("x = stranger_broken:Limits", LAYER, "AttributeError"),
    "a package that raises": ("x = stranger_broken:Limit", "raise RuntimeError('it rains')", "RuntimeError: it rains"),
    "a package that leaves": ("x = stranger_broken:Limit", "raise SystemExit(3)", "SystemExit: 3"),
    "a package that is no Python": ("x = stranger_broken:Limit", "def", "SyntaxError"),
    "a module without an attribute": ("x = stranger_broken", LAYER, "not module:attribute"),
    "what cannot be called": ("x = stranger_broken:NAME", "NAME = 3", "which cannot be called"),
}


@pytest.mark.parametrize(("entry", "source", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_named_and_breaks_no_other(install: Install, entry: str, source: str, words: str) -> None:
    """It is listed, and fails with its own name when it is used."""
    install("stranger-broken", f"[llamina.layers]\n{entry}\n", source)
    install("stranger-good", "[llamina.layers]\ngood = stranger_good:Limit\n")

    with pytest.raises(ConfigurationError) as caught:
        load_stack({"transport": "echo", "layers": ["x"]})

    assert "layers[0].type" in str(caught.value)
    assert "the layer 'x' of the package stranger-broken 1.5" in str(caught.value)
    assert words in str(caught.value)
    assert [plugin.name for plugin in mine("layer")] == ["good", "x"]
    assert resolve("layer", "good")


def test_the_error_of_a_broken_plugin_is_kept(install: Install) -> None:
    """As the cause, for whoever mends it."""
    install("stranger-broken", "[llamina.layers]\nx = stranger_broken:Limit\n", "import nowhere_at_all")

    with pytest.raises(ConfigurationError) as caught:
        mine("layer")[0].load()

    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize("text", ["[llamina.layers]\nnonsense\n", "[llamina.layers]\nx = caf\xe9:Limit"])
def test_metadata_that_cannot_be_read_break_no_other(install: Install, text: str) -> None:
    """A package without readable entry points is at most reported."""
    install("stranger-odd", text)
    install("stranger-good", "[llamina.layers]\ngood = stranger_good:Limit\n")

    found = {plugin.package: plugin for plugin in mine("layer")}

    assert resolve("layer", "good")
    if "nonsense" in text:
        assert "cannot be read" in found["stranger-odd"].problem
        with pytest.raises(ConfigurationError, match="stranger-odd"):
            found["stranger-odd"].load()


def test_a_package_without_a_name_is_listed(install: Install) -> None:
    """Its plugin works all the same."""
    install("stranger-bare", "[llamina.layers]\nbare = stranger_bare:Limit\n", metadata="Metadata-Version: 2.1\n")

    assert resolve("layer", "bare").__name__ == "Limit"


def test_an_unknown_name_gets_the_nearest(install: Install) -> None:
    """Of built-ins and of plugins alike."""
    install("stranger-limit", "[llamina.layers]\nrate-limit = stranger_limit:Limit\n")

    with pytest.raises(ConfigurationError, match="did you mean 'rate_limit'?"):
        resolve("layer", "rate_limt")
    with pytest.raises(ConfigurationError, match="x: there is no store 'zzz'; use one of memory, sqlite"):
        resolve("store", "zzz", place="x")


def test_an_unknown_kind_is_refused() -> None:
    """There are four."""
    with pytest.raises(ConfigurationError, match="layer, transport, store, backoff, got 'sauce'"):
        plugins("sauce")


def test_built_ins_need_no_look_at_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack of built-ins is loaded without reading the metadata of anything."""

    def forbidden() -> None:
        raise AssertionError("looked")

    monkeypatch.setattr("llamina.plugins.distributions", forbidden)

    load_stack({"transport": "echo", "layers": ["logger", {"type": "retry", "backoff": "linear"}]})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, own in BUILT_IN.items() for name in own])
def test_every_built_in_is_there(kind: str, name: str) -> None:
    """By either spelling."""
    assert resolve(kind, name.replace("_", "-")) is resolve(kind, name)


def test_a_layer_of_a_plugin_built_in_code_says_its_name(install: Install) -> None:
    """A stack that was built in code can be written too."""
    install("stranger-limit", "[llamina.layers]\nrate-limit = stranger_limit:Limit\n")
    limit = resolve("layer", "rate-limit")

    config = build_stack([limit(9)], EchoTransport()).to_config()

    assert config["layers"] == [{"type": "rate_limit", "limit": 9}]


def test_importing_llamina_reads_no_configuration() -> None:
    """Neither cattrs nor tomllib nor the metadata of packages, until a stack is loaded."""
    code = (
        "import sys; before = set(sys.modules); import llamina; "  # what measures coverage may have read its own
        "print([n for n in ('cattrs', 'tomllib', 'importlib.metadata') if n in set(sys.modules) - before])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("line", ["limit =", "= stranger_half:Limit"])
def test_half_an_entry_point_is_a_problem(install: Install, line: str) -> None:
    """It is told of, and no layer goes by the name of nothing."""
    install("stranger-half", f"[llamina.layers]\n{line}\n")

    (found,) = mine("layer")

    assert "name = module:attribute" in found.problem
    assert "" not in names("layer")
    with pytest.raises(ConfigurationError, match="cannot be used: an entry point is written"):
        found.load()


def test_a_transport_cannot_be_called_stack(install: Install) -> None:
    """In a file that word is a stack within a stack."""
    install("stranger-stack", "[llamina.transports]\nstack = stranger_stack:Limit\n")

    (found,) = mine("transport")

    assert found.shadowed
