"""The environments of the rivals, built when they are first needed or when what they hold has changed.

There are two because litellm asks for an openai SDK below 3 and the others run on 3; this checkout is in both.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HOME = HERE / ".venv"

NEEDS = {
    # any-llm asks for an anthropic SDK below 1: all of our extras but those two and the terminal
    "current": ("requirements.txt", "prices,fast,httpx2,openai"),
    "litellm": ("requirements-litellm.txt", "prices,fast,httpx2"),
}
SHOWN = (
    "llamina", "openai", "litellm", "langchain-core", "langchain-openai", "pydantic-ai-slim", "any-llm-sdk",
    "tenacity", "stamina", "aiocache", "httpx", "httpx2", "aiohttp",
)  # fmt: skip


class Environments:
    """Where the interpreters are."""

    def __init__(self) -> None:
        for name, (requirements, extras) in NEEDS.items():
            _build(name, HERE / requirements, extras)

    def python(self, name: str) -> Path:
        """The interpreter of an environment."""
        return _python(name)

    def versions(self) -> dict[str, dict[str, str]]:
        """The versions of what is compared, by environment."""
        code = (
            "import importlib.metadata as m, json; "
            "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions()}))"
        )
        found = {}
        for name in NEEDS:
            done = subprocess.run([_python(name), "-c", code], capture_output=True, text=True, check=True)
            installed = json.loads(done.stdout)
            found[name] = {package: installed[package] for package in SHOWN if package in installed}
        return found


def _python(name: str) -> Path:
    return HOME / name / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def _build(name: str, requirements: Path, extras: str) -> None:
    stamp = HOME / name / "built-from"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = repr((project["dependencies"], project["optional-dependencies"], extras))
    wanted = hashlib.sha256(requirements.read_bytes() + ours.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"building the environment {name!r} ...", file=sys.stderr, flush=True)
    venv.create(HOME / name, with_pip=True, clear=True)
    subprocess.run(
        [_python(name), "-m", "pip", "install", "-q", "-r", requirements, "-e", f"{ROOT}[{extras}]"], check=True
    )
    stamp.write_text(wanted)
