"""`llamina conformance`: a line for each clause, an exit code, and good words for what cannot be checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")

from llamina.cli.app import run
from llamina.testing._middleware_clauses import MIDDLEWARE

MODULE = """
from llamina import Response, Retry, Usage, middleware
from llamina.policy.backoff import Constant
from llamina.stores import MemoryCache

print("a module that talks while it is imported")

@middleware
async def good(request, call_next):
    return await call_next(request)

@middleware
async def bad(request, call_next):
    try:
        return await call_next(request)
    except Exception as error:
        raise RuntimeError("wrapped") from error

@middleware
async def mute(request, call_next):
    await call_next(request)

def make_layer():
    return Retry(attempts=2)

class Needy:
    def __init__(self, limit, per):
        pass

def forgot():
    make_layer()

async def handler(request):
    return Response.of("hello", usage=Usage(1, 1))

store = MemoryCache
patient = Retry()
answer = 42
"""


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder, which is not on the path."""
    name = f"conformance_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


@pytest.mark.parametrize("attribute", ["good", "make_layer", "patient"])
def test_a_good_layer_has_a_line_for_each_clause(talk: str, attribute: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer itself, what builds one, or an object: each with its sentence and its numbers."""
    code = run(["conformance", f"{talk}:{attribute}"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert len([line for line in lines if line.startswith("✓")]) == len(MIDDLEWARE.entries)
    assert any(line.startswith("✓ cancellation ") and line.endswith("[4.3, 9.1, 9.3]") for line in lines)
    assert lines[-1] == f"{len(MIDDLEWARE.entries)} of {len(MIDDLEWARE.entries)} clauses hold."


def test_a_wrong_layer_is_told_what_was_seen(talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit code says so."""
    code = run(["conformance", f"{talk}:bad"])

    said = capsys.readouterr().out
    assert code == 1
    assert "✗ errors-pass-through" in said
    assert "seen: InvalidRequestError('no such parameter') became RuntimeError('wrapped')" in said


def test_what_answers_nothing_is_not_played_further(talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One finding, not forty."""
    code = run(["conformance", f"{talk}:mute"])

    said = capsys.readouterr().out
    assert code == 1
    assert "returned NoneType; a handler must return a Response" in said
    assert f"0 of 1 clauses hold, {len(MIDDLEWARE.entries) - 1} were not played." in said


def test_the_report_as_json(talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For machines: nothing else is on standard output, whatever the module prints."""
    code = run(["conformance", f"{talk}:bad", "--json"])

    report = json.loads(capsys.readouterr().out)
    found = {clause["name"]: clause for clause in report["clauses"]}
    assert code == 1
    assert report["conforms"] is False
    assert report["protocol"] == 1
    assert found["errors-pass-through"]["held"] is False
    assert found["errors-pass-through"]["cites"] == ["8.2"]
    assert found["concurrent-use"]["held"] is True


@pytest.mark.parametrize(
    ("target", "kind", "count"),
    [
        ("retry", "layer", len(MIDDLEWARE.entries)),
        ("echo", "transport", 11),
        ("memory", "store", 19),
        (":store", "store", 19),
        ("fibonacci", "backoff", 8),
    ],
)
def test_each_kind_is_checked_by_its_kit(
    talk: str, target: str, kind: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is built in goes by its name, as in a stack file."""
    code = run(["conformance", talk + target if target.startswith(":") else target, "--kind", kind])

    assert code == 0
    assert f"{count} of {count} clauses hold." in capsys.readouterr().out


def test_a_handler_is_checked_as_it_is(talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An async function is no factory."""
    code = run(["conformance", f"{talk}:handler", "--kind", "handler"])

    said = capsys.readouterr().out
    assert code == 1
    assert "10 of 11 clauses hold." in said
    assert "refuse the kinds that it cannot answer" in said


@pytest.mark.parametrize(
    ("target", "kind", "complaint"),
    [
        ("nowhere_at_all:Limit", "layer", "No module named 'nowhere_at_all'"),
        (":Limt", "layer", "has no attribute 'Limt'"),
        (":Needy", "layer", "needs limit, per; write a function without arguments"),
        (":forgot", "layer", "returned None"),
        (":answer", "layer", "is of the type int, nothing that builds a layer"),
        ("retri", "layer", "did you mean 'retry'"),
        ("retry", "thing", "--kind must be one of layer, handler, store, backoff, got 'thing'"),
    ],
)
def test_what_cannot_be_checked_is_one_line_on_stderr(
    talk: str, target: str, kind: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names what was given and what to write."""
    code = run(["conformance", talk + target if target.startswith(":") else target, "--kind", kind])

    told = capsys.readouterr()
    assert code == 2
    assert complaint in told.err
    assert "✓" not in told.out
