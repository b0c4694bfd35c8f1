"""Every example runs offline, without a key, without a warning, and ends well."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
NEEDS = {
    "llamina.testing": "freezegun",
    "OpenAITransport": "openai",
    "AnthropicTransport": "anthropic",
    "import openai": "openai",
    "import flask": "flask",
    "starlette": "starlette",
}
"""What an example says, and the package that it then needs."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    """The script exits with 0, says something, and neither warns nor leaves a traceback behind."""
    text = example.read_text()
    missing = [package for words, package in NEEDS.items() if words in text and find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}

    ended = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_says_how_it_is_run(example: Path) -> None:
    """Its docstring opens with what it shows and ends with the command."""
    assert f"python examples/{example.name}" in example.read_text().split('"""')[1]
