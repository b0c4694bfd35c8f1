"""`llamina check`, `llamina explain` and `llamina draw`."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from llamina.cli import main

GOOD = """
[transport]
type = "http"
provider = "groq"

[[layers]]
type = "cache"
ttl = 300

[[layers]]
type = "retry"

[[layers]]
type = "timeout"
seconds = 30
"""
WRONG = """
transport = { type = "echo" }

[[layers]]
type = "retry"

[[layers]]
type = "cache"
"""
NOTED = """
transport = { type = "echo" }

[[layers]]
type = "circuit_breaker"

[[layers]]
type = "retry"
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack file in a good order, whose key is not in the environment."""
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    path = tmp_path / "stack.toml"
    path.write_text(GOOD)
    return path


def test_a_good_order_is_fine_without_any_secret(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stack is built and never asked, and the environment is as before."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "")
    before = dict(os.environ)

    code = main(["check", str(written)])

    assert (code, capsys.readouterr().out) == (0, f"{written}: the order of the layers is fine\n")
    assert dict(os.environ) == before


def test_a_secret_that_is_named_by_its_variable_is_not_needed(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever variable it is, and also if it is empty."""
    written.write_text(
        'transport = { type = "http", base_url = "https://llm.example/v1", api_key = "${A_KEY_THAT_NOBODY_SET}" }'
    )

    code = main(["check", str(written)])

    assert (code, capsys.readouterr().err) == (0, "")


def test_a_wrong_order_has_its_reason_and_its_mend(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit code 1."""
    written.write_text(WRONG)

    code = main(["check", str(written)])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0] == "wrong: Cache (layers[1]) inside Retry (layers[0])"
    assert [line[:7] for line in lines[1:4]] == ["  why: ", "  mend:", "  rule:"]
    assert lines[-1] == f"{written}: 1 wrong"


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
def test_a_note_counts_when_strict(
    written: Path, options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else it is told only."""
    written.write_text(NOTED)

    assert main(["check", str(written), *options]) == code
    assert capsys.readouterr().out.startswith("note: Retry (layers[1]) inside CircuitBreaker (layers[0])")


@pytest.mark.parametrize("command", ["check", "explain", "draw"])
def test_a_file_that_cannot_be_loaded_is_one_line_and_2(
    written: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever command reads it."""
    written.write_text('transport = { type = "nowhere" }')

    code = main([command, str(written)])

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert told.err.startswith("llamina: ")
    assert told.err.count("\n") == 1


def test_a_stack_is_explained_as_a_tree(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without colours in a pipe, and with lines as long as they are."""
    code = main(["explain", str(written)])

    shown = capsys.readouterr().out
    assert code == 0
    assert shown.startswith("One call: at most 3 requests to the provider; at most 91.5 s (222 s")
    assert "├─ Cache(ttl=300)\n│    gives what was answered before" in shown
    assert "never once a stream has delivered content\n" in shown
    assert "\x1b" not in shown


def test_a_question_is_explained_and_not_shown(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor sent."""
    code = main(["explain", str(written), "--prompt", "very private", "--model", "small"])

    shown = capsys.readouterr().out
    assert code == 0
    assert "For a chat request to 'small':" in shown
    assert "will be looked up under " in shown
    assert "private" not in shown


def test_markup_in_a_file_is_text(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like a style is printed as it is."""
    written.write_text(WRONG.replace('type = "cache"', 'type = "cache"\nnamespace = "[bold red]"'))

    main(["explain", str(written)])

    assert "Cache(namespace='[bold red]')" in capsys.readouterr().out


def test_without_an_output_mermaid_is_printed(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `stack.draw()` gives it."""
    code = main(["draw", str(written)])

    shown = capsys.readouterr().out
    assert code == 0
    assert shown.startswith("flowchart TB\n")
    assert 'part0["Cache<br/>ttl=300"]' in shown


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<svg "), ("a.png", b"\x89PNG"), ("a.mmd", b"flowchart TB")])
def test_the_ending_of_the_output_says_what_is_drawn(written: Path, name: str, begins: bytes) -> None:
    """A picture, or the text of one."""
    if name.endswith(".png"):
        pytest.importorskip("PIL")
    output = written.with_name(name)

    code = main(["draw", str(written), "--output", str(output)])

    assert code == 0
    assert output.read_bytes().startswith(begins)
    if name.endswith(".svg"):
        ET.parse(output)


@pytest.mark.parametrize(
    ("name", "told"),
    [("stack.gif", "--output must end in .svg, .png or .mmd"), ("no/where.svg", "could not be written")],
)
def test_an_output_that_cannot_be_is_one_line_and_2(
    written: Path, name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown ending, a folder that is not there."""
    code = main(["draw", str(written), "--output", str(written.parent / name)])

    assert code == 2
    assert told in capsys.readouterr().err
