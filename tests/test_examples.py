"""Every example runs offline, without a key, without a warning, and ends well."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
NEEDS_FREEZEGUN = "llamina.testing"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    """The script exits with 0, says something, and neither warns nor leaves a traceback behind."""
    if NEEDS_FREEZEGUN in example.read_text() and importlib.util.find_spec("freezegun") is None:
        pytest.skip("needs the extra `testing`")
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
