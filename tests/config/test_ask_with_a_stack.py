"""`llamina ask --stack` and `llamina schema`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from llamina.cli.app import run

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "stack.toml")
SERVER = 'transport = { type = "http", base_url = "http://127.0.0.1:9/v1" }'


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of its own, and no model in the environment."""
    monkeypatch.delenv("LLAMINA_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_the_stack_of_a_file_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """An echo needs no model."""
    code = run(["ask", "--stack", EXAMPLE, "hello"])

    printed = capsys.readouterr()
    assert code == 0
    assert printed.out.startswith('You said: "hello"')
    assert "USD" in printed.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["ask", "--stack", "stack.toml", "hello"], 'YOU SAID: "HELLO"'),
        (["check", "stack.toml"], "the order of the layers is fine"),
        (["explain", "stack.toml"], "map_text"),
    ],
)
def test_a_stack_may_name_what_lies_beside_it(
    command: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Modules in the folder that the command runs in can be named, also where Python does not look for them."""
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", str(tmp_path))])
    monkeypatch.delitem(sys.modules, "loud_layer", raising=False)
    Path("loud_layer.py").write_text("def loud(text):\n    return text.upper()\n")
    Path("stack.toml").write_text(
        'transport = "echo"\nlayers = [{ type = "map_text", function = "loud_layer:loud" }]\n'
    )

    code = run(command)

    assert code == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (SERVER, [], "no model is named for stack.toml; write --model NAME"),
        (SERVER, ["--provider", "groq"], "--provider cannot stand beside --stack"),
        (SERVER, ["--base-url", "http://x", "--timeout", "3"], "--base-url and --timeout cannot stand beside --stack"),
        ("transport = 3", [], "stack.toml: transport: must be a transport"),
        (None, [], "there is no stack file 'stack.toml'"),
    ],
)
def test_what_cannot_be_is_one_line(
    content: str | None, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of a wrong use."""
    if content is not None:
        Path("stack.toml").write_text(content)

    code = run(["ask", "--stack", "stack.toml", *options, "hello"])

    printed = capsys.readouterr()
    assert code == 2
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_a_stack_within_a_stack_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """The echo is found at the end of both."""
    Path("stack.toml").write_text(f'transport = {{ type = "stack", file = {json.dumps(EXAMPLE)} }}')

    code = run(["ask", "--stack", "stack.toml", "--no-stream", "hello"])

    assert code == 0
    assert "hello" in capsys.readouterr().out


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, for a pipe."""
    code = run(["schema"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["title"] == "a llamina stack"


def test_the_schema_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Into a file; what cannot be written is one line."""
    code = run(["schema", "--output", "stack.schema.json"])
    failed = run(["schema", "--output", "nowhere/stack.schema.json"])

    printed = capsys.readouterr()
    assert (code, failed) == (0, 2)
    assert json.loads(Path("stack.schema.json").read_text())["$defs"]
    assert "#:schema ./stack.schema.json" in printed.out
    assert "cannot be written" in printed.err
