"""`llamina plugins`: what is installed, whether it works, and whether it keeps the protocol."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from llamina.cli import plugins as command
from llamina.cli.plugins import list_plugins

GOOD = """
from llamina import middleware

def Good(limit: int = 3):
    @middleware
    async def good(request, call_next):
        return await call_next(request)

    return good
"""
LEAKY = """
import asyncio

class Leaky:
    def __init__(self):
        self.free = asyncio.Semaphore(1)

    def __call__(self, call_next):
        async def handle(request):
            await self.free.acquire()
            response = await call_next(request)
            self.free.release()
            return response

        return handle
"""
NEEDS_A_KEY = """
class Guard:
    def __init__(self, key, *, url, retries=3): ...
"""
KEEPS_FILES = """
from pathlib import Path
from llamina import MemoryCache

class Kept(MemoryCache):
    async def clear(self, prefix="", /):
        Path("kept.db").unlink(missing_ok=True)
        (Path.home() / "kept.db").unlink(missing_ok=True)
        await super().clear(prefix)
"""
TRANSPORT = """
import socket

class Far:
    async def __call__(self, request):
        socket.create_connection(("127.0.0.1", 9))
"""


def listed(capsys: pytest.CaptureFixture[str], *, check: bool = False) -> list[dict[str, Any]]:
    """What the list says, as JSON."""
    list_plugins(check=check, as_json=True)
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def only(capsys: pytest.CaptureFixture[str], *, check: bool = False) -> dict[str, Any]:
    """What it says of the one plugin that is installed."""
    (one,) = listed(capsys, check=check)
    return one


def test_where_nothing_is_installed_it_says_how_to_begin(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list is no error."""
    assert list_plugins(check=False, as_json=False) == 0

    assert "llamina new layer" in capsys.readouterr().out


def test_a_table_has_a_line_for_each(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Kind, name, package, version, where it is, and that it can be imported."""
    install("llamina-good", GOOD, version="2.1", layer={"good": "llamina_good:Good"})

    code = list_plugins(check=False, as_json=False)

    head, line = capsys.readouterr().out.splitlines()
    assert code == 0
    assert head.split() == ["kind", "name", "package", "version", "target", "status"]
    assert line.split() == ["layer", "good", "llamina-good", "2.1", "llamina_good:Good", "works"]


def test_every_kind_is_listed(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One package may bring several things."""
    install("llamina-good", GOOD, layer={"a": "llamina_good:Good"}, backoff={"b": "llamina_good:Good"})
    install("llamina-kept", GOOD, store={"c": "llamina_kept:Good"}, transport={"d": "llamina_kept:Good"})

    found = [(one["kind"], one["name"]) for one in listed(capsys)]

    assert found == [("layer", "a"), ("transport", "d"), ("store", "c"), ("backoff", "b")]


@pytest.mark.parametrize(
    ("code", "target", "reason"),
    [
        ("import no_such_module_anywhere", "llamina_bad:Bad", "no_such_module_anywhere"),
        ("raise SystemExit('leave')", "llamina_bad:Bad", "leave"),
        ("def Bad(:", "llamina_bad:Bad", "SyntaxError"),
        ("", "llamina_bad:Bad", "Bad"),
        ("Bad = 3", "llamina_bad:Bad", "cannot be called"),
        ("", "llamina_bad", "module:attribute"),
    ],
)
def test_a_broken_one_is_named_with_the_reason(
    install: Any, capsys: pytest.CaptureFixture[str], code: str, target: str, reason: str
) -> None:
    """It does not hide the others, and the exit code says that something is to be mended."""
    install("llamina-bad", code, layer={"bad": target})
    install("llamina-good", GOOD, layer={"good": "llamina_good:Good"})

    exit_code = list_plugins(check=False, as_json=False)

    said = capsys.readouterr().out
    assert exit_code == 1
    assert "llamina-bad" in said
    assert reason in said.split("bad:")[-1]
    assert [line.split()[-1] for line in said.splitlines()[1:3]] == ["broken", "works"]


def test_one_with_the_name_of_a_built_in_is_hidden(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It would never be found by its name, which is the package's mistake."""
    install("llamina-again", GOOD, layer={"retry": "llamina_again:Good"})

    found = only(capsys)

    assert found["status"] == "hidden"
    assert "llamina has a layer of this name" in found["reason"]
    assert list_plugins(check=False, as_json=True) == 1


def test_one_name_in_two_packages_hides_both(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each says who the other is."""
    install("llamina-one", GOOD, layer={"good": "llamina_one:Good"})
    install("llamina-two", GOOD, layer={"good": "llamina_two:Good"})

    one, two = listed(capsys)

    assert (one["status"], two["status"]) == ("hidden", "hidden")
    assert "llamina-two" in one["reason"]
    assert "llamina-one" in two["reason"]


def test_one_that_keeps_the_protocol_conforms(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The names of the clauses that held are there for programs, their number for people."""
    install("llamina-good", GOOD, layer={"good": "llamina_good:Good"})

    found = only(capsys, check=True)
    code = list_plugins(check=True, as_json=False)

    assert (found["status"], code) == ("conforms", 0)
    assert "cancellation" in found["clauses"]
    assert f"conforms ({len(found['clauses'])} clauses)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("transport", "from llamina.transports import EchoTransport as It"),
        ("store", "from llamina import MemoryCache as It"),
        ("backoff", "from llamina import Fibonacci as It"),
    ],
)
def test_each_kind_has_its_own_check(install: Any, capsys: pytest.CaptureFixture[str], kind: str, code: str) -> None:
    """Transports, stores and backoffs have contracts of their own."""
    install("llamina-other", code, **{kind: {"other": "llamina_other:It"}})

    found = only(capsys, check=True)

    assert found["status"] == "conforms"
    assert found["clauses"]


def test_one_that_does_not_is_told_which_clauses(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The clause that was broken is named, and the exit code is 1."""
    install("llamina-leaky", LEAKY, layer={"leaky": "llamina_leaky:Leaky"})

    found = only(capsys, check=True)

    assert found["status"] == "breaks"
    assert "cancellation" in found["clauses"]
    assert "given back" in found["reason"]
    assert list_plugins(check=True, as_json=True) == 1


def test_one_that_needs_settings_is_no_fault(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It cannot be built here; which settings it needs is said."""
    install("llamina-guard", NEEDS_A_KEY, layer={"guard": "llamina_guard:Guard"})

    found = only(capsys, check=True)

    assert found["status"] == "needs settings"
    assert "key, url" in found["reason"]
    assert list_plugins(check=True, as_json=True) == 0


@pytest.mark.parametrize(
    ("raises", "status", "exit_code"),
    [
        ("llamina.ConfigurationError('Guard needs a key')", "needs settings", 0),
        ("ZeroDivisionError('Guard needs a key')", "broken", 1),
    ],
)
def test_one_that_cannot_be_built_says_why(
    install: Any, capsys: pytest.CaptureFixture[str], raises: str, status: str, exit_code: int
) -> None:
    """A setting that it asks for is no fault; what else is raised is one."""
    install(
        "llamina-guard", f"import llamina\ndef Guard():\n    raise {raises}", layer={"guard": "llamina_guard:Guard"}
    )

    found = only(capsys, check=True)

    assert found["status"] == status
    assert "Guard needs a key" in found["reason"]
    assert list_plugins(check=True, as_json=True) == exit_code


def test_what_builds_no_layer_is_broken(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It can be imported and called, and gives a number."""
    install("llamina-three", "def Three():\n    return 3", layer={"three": "llamina_three:Three"})

    found = only(capsys, check=True)

    assert found["status"] == "broken"
    assert "must be a layer" in found["reason"]


def test_a_layer_that_is_no_factory_is_checked_as_it_is(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A function under @middleware has no settings: it is the layer."""
    code = "from llamina import middleware\n@middleware\nasync def plain(request, call_next):\n"
    install("llamina-plain", f"{code}    return await call_next(request)\n", layer={"plain": "llamina_plain:plain"})

    assert only(capsys, check=True)["status"] == "conforms"


def test_without_the_kit_nothing_is_checked(
    install: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install is said; nothing is taken for broken, but a job of CI that wanted a check does not pass."""
    install("llamina-good", GOOD, layer={"good": "llamina_good:Good"})
    monkeypatch.setattr(command, "find_spec", lambda name: None)

    found = only(capsys, check=True)

    assert found["status"] == "not checked"
    assert "llamina[testing]" in found["reason"]
    assert list_plugins(check=True, as_json=True) == 1
    assert list_plugins(check=False, as_json=True) == 0


def test_a_check_reaches_no_network(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even this machine: a store that is checked would empty somebody's database."""
    install("llamina-far", TRANSPORT, transport={"far": "llamina_far:Far"})
    before = socket.socket.connect

    found = only(capsys, check=True)

    assert "nothing reach a network" in found["reason"]
    assert socket.socket.connect is before


def test_a_check_empties_no_store_that_somebody_works_with(
    install: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the folder where it is run, and in the home of who runs it, are not those of the check."""
    install("llamina-kept", KEEPS_FILES, store={"kept": "llamina_kept:Kept"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kept.db").write_text("precious")

    assert only(capsys, check=True)["status"] == "conforms"

    assert (tmp_path / "kept.db").read_text() == "precious"


def test_what_a_plugin_prints_is_not_in_the_list(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes to standard error: the list can be piped."""
    install("llamina-loud", f"print('loaded!')\n{GOOD}", layer={"loud": "llamina_loud:Good"})

    list_plugins(check=False, as_json=True)

    said = capsys.readouterr()
    assert json.loads(said.out)[0]["name"] == "loud"
    assert "loaded!" in said.err


@pytest.mark.skipif(importlib.util.find_spec("typer") is None, reason="the command line needs typer")
def test_the_command_passes_its_options_on(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """`llamina plugins --check --json`."""
    from llamina.cli import main

    install("llamina-good", GOOD, layer={"good": "llamina_good:Good"})

    code = main(["plugins", "--check", "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "conforms"
