"""Plugins as strangers have them: built as wheels, installed in an empty environment, used by name. Nothing is faked.

    python tests/plugins/as_a_stranger.py

A layer is begun with `llamina new layer`, and built like the examples are. All wheels are installed beside llamina's
own; then a stack file names the layers, and the tests of the packages are run against what is installed.

It needs pip and its index. It prints one line when all is well; else the command that failed and what that printed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples" / "plugins").glob("*/pyproject.toml"))
BEGUN = "shout-guard"

STACK = """
transport = { type = "echo" }

[[layers]]
type = "retry"
backoff = { type = "steps", seconds = [1, 5] }

[[layers]]
type = "fair_share"
limit = 4
by = "user"

[[layers]]
type = "shout_guard"
limit = 2
"""
ASK = """
import asyncio
from llamina import Request, load_stack
from llamina_fair_share import FairShare
from llamina_shout_guard import ShoutGuard
from llamina_steps import Steps

stack = load_stack("stack.toml")
answer = asyncio.run(stack(Request.chat("echo", "hello", tags={"user": "ada"})))
assert "hello" in answer.text, answer.text
retry, fair, begun = stack.layers
assert retry.backoff == Steps([1, 5]), retry
assert (type(fair), type(begun)) == (FairShare, ShoutGuard), stack.layers
assert (fair.limit, fair.by, begun.limit) == (4, "user", 2), stack.layers
assert load_stack(stack.to_config()).to_config() == stack.to_config()
counted = stack.stats()
assert (counted["fair_share.admitted"], counted["shout_guard.calls"]) == (1, 1), counted
"""


class FailedError(Exception):
    """A step did not do what it must; the text says which, and what was seen."""


class Stranger:
    """Someone with an empty folder and an empty environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        venv.create(folder / "env", with_pip=False)
        self.programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
        # Of the environment that this runs in only pip's settings are taken along.
        left_out = ("PYTHON", "PYTEST", "COVERAGE", "VIRTUAL_ENV", "LLM", "LLAMINA", "OPENAI", "ANTHROPIC")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        self.environ["PYTHONUTF8"] = "1"

    def run(self, *command: str | Path, within: str = ".") -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder / within,
            env=self.environ,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        if done.returncode:
            said = f"$ {' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
            raise FailedError(f"exit code {done.returncode}\n{said}")
        return done.stdout

    def use(self, program: str, *arguments: str | Path, within: str = ".") -> str:
        """Run a program of the environment."""
        return self.run(self.programs / program, *arguments, within=within)

    def build(self, *folders: Path) -> None:
        """Make a wheel of each folder."""
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir")
        self.run(*pip, self.wheels, *folders)

    def install(self, *wheels: str) -> None:
        """Install from wheels that were built, `name[extras]`, and what they need from the index."""
        found = []
        for wanted in wheels:
            name, bracket, extras = wanted.partition("[")
            (wheel,) = self.wheels.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
            found.append(f"{wheel}{bracket}{extras}")
        pip = (sys.executable, "-m", "pip", "--python", self.programs / "python", "install", "--quiet", "--no-compile")
        self.run(*pip, *found)


def expect(holds: bool, seen: object) -> None:
    """Fail with what was *seen* unless it *holds*."""
    if not holds:
        raise FailedError(f"seen: {seen}")


def builds_and_installs(stranger: Stranger) -> None:
    """Llamina comes first; with it the new package is begun, and all packages are installed from their wheels."""
    stranger.build(ROOT, *EXAMPLES)
    stranger.install("llamina[cli,testing]")
    said = stranger.use("llamina", "plugins")
    expect("llamina new layer" in said, said)

    said = stranger.use("llamina", "new", "layer", BEGUN)
    expect(f"cd llamina-{BEGUN}" in said, said)
    stranger.build(stranger.folder / f"llamina-{BEGUN}")
    stranger.install(f"llamina-{BEGUN}[testing]", *[example.name for example in EXAMPLES])


def holds_what_it_must(stranger: Stranger) -> None:
    """The wheel of llamina has the templates, and nothing that is for its own tests."""
    (wheel,) = stranger.wheels.glob("llamina-[0-9]*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    expect(sum(name.startswith("llamina/cli/templates/") for name in names) >= 7, names)
    expect("llamina/py.typed" in names, names)
    foreign = [name for name in names if not name.startswith(("llamina/", "llamina-"))]
    expect(not foreign, foreign)


def lists_them(stranger: Stranger) -> None:
    """Each plugin is there by its name, can be imported, and keeps the protocol."""
    listed = {each["name"]: each for each in json.loads(stranger.use("llamina", "plugins", "--json"))}
    expect({each["status"] for each in listed.values()} == {"works"}, listed)
    expect(set(listed) == {"fair_share", "shout_guard", "steps"}, listed)
    expect(listed["shout_guard"]["package"] == "llamina-shout-guard", listed)

    checked = json.loads(stranger.use("llamina", "plugins", "--check", "--json"))
    expect({each["status"] for each in checked} == {"conforms"}, checked)


def answers_from_a_file(stranger: Stranger) -> None:
    """A stack file names them; its order is checked, and it answers."""
    (stranger.folder / "stack.toml").write_text(STACK, encoding="utf-8")

    stranger.use("llamina", "check", "stack.toml")
    stranger.use("python", "-W", "error", "-c", ASK)
    told = stranger.use("llamina", "explain", "stack.toml")

    expect("at most 4 calls at once" in told, told)


def passes_its_own_checks(stranger: Stranger) -> None:
    """The new package passes its tests, the linter and the type checker as it was written."""
    package = f"llamina-{BEGUN}"

    said = stranger.use("python", "-m", "pytest", "-q", within=package)
    expect(" passed" in said and "skipped" not in said, said)
    stranger.use("ruff", "check", within=package)
    stranger.use("mypy", within=package)


def examples_pass_their_tests(stranger: Stranger) -> None:
    """The examples are tested away from this checkout, against what is installed."""
    for example in EXAMPLES:
        shutil.copytree(example / "tests", stranger.folder / example.name / "tests")
        shutil.copy(example / "pyproject.toml", stranger.folder / example.name)
        said = stranger.use("python", "-m", "pytest", "-q", within=example.name)
        expect(" passed" in said and "skipped" not in said, said)
    modules = [word for example in EXAMPLES for word in ("-p", example.name.replace("-", "_"))]
    stranger.use("mypy", "--strict", *modules, within=f"llamina-{BEGUN}")  # where it was run before, and has a cache


STEPS = (
    builds_and_installs,
    holds_what_it_must,
    lists_them,
    answers_from_a_file,
    passes_its_own_checks,
    examples_pass_their_tests,
)


def main() -> int:
    """Take every step; 0 if all of them hold."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stranger-") as folder:
        stranger = Stranger(Path(folder).resolve())
        for step in STEPS:
            try:
                step(stranger)
            except FailedError as failure:
                print(f"{step.__name__}: {step.__doc__}\n{failure}", file=sys.stderr)
                return 1
    print(f"plugins work as installed from wheels: {len(STEPS)} steps in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
