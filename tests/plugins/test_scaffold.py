"""`llamina new layer`: names, files, and a layer that keeps the protocol."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from llamina.cli.scaffold import Names, write_layer
from llamina.errors import ConfigurationError
from llamina.testing import check_middleware

FILES = [
    ".github/workflows/ci.yml",
    ".gitignore",
    "CHANGELOG.md",
    "README.md",
    "pyproject.toml",
    "src/llamina_rate_limit/__init__.py",
    "src/llamina_rate_limit/py.typed",
    "tests/test_rate_limit.py",
]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a layer called rate-limit, just written."""
    write_layer("rate-limit", tmp_path)

    return tmp_path / "llamina-rate-limit"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("rate-limit", Names("rate_limit", "llamina-rate-limit", "llamina_rate_limit", "RateLimit")),
        ("rate_limit", Names("rate_limit", "llamina-rate-limit", "llamina_rate_limit", "RateLimit")),
        ("Rate.Limit", Names("rate_limit", "llamina-rate-limit", "llamina_rate_limit", "RateLimit")),
        ("llamina-rate--limit", Names("rate_limit", "llamina-rate-limit", "llamina_rate_limit", "RateLimit")),
        ("audit", Names("audit", "llamina-audit", "llamina_audit", "Audit")),
        ("pii2", Names("pii2", "llamina-pii2", "llamina_pii2", "Pii2")),
        ("a-1", Names("a_1", "llamina-a-1", "llamina_a_1", "A1")),
    ],
)
def test_all_names_follow_from_one(given: str, expected: Names) -> None:
    """Package, module, class, and the name in stack files; however the name is spelt."""
    assert Names.of(given) == expected


@pytest.mark.parametrize(
    ("given", "because"),
    [
        ("", "cannot be called"),
        ("-limit", "cannot be called"),
        ("limit-", "cannot be called"),
        ("limit\n", "cannot be called"),
        ("2fast", "a letter first"),
        ("rate limit", "cannot be called"),
        ("../limit", "cannot be called"),
        ("größe", "cannot be called"),
        ("x" * 61, "longer than"),
        ("lambda", "means something in Python"),
        ("none", "means something in Python"),
        ("exception", "means something in Python"),
        ("request", "Request is a class"),
        ("test", "for a test"),
        ("tester", "for a test"),
        ("retry", "of its own"),
        ("llamina-cost-meter", "of its own"),
        ("Circuit_Breaker", "of its own"),
        ("llamina", "of its own"),
        ("llamina-llamina", "of its own"),
    ],
)
def test_a_name_that_cannot_work_is_refused(given: str, because: str, tmp_path: Path) -> None:
    """Nothing is written, and the error says why."""
    with pytest.raises(ConfigurationError, match=because):
        write_layer(given, tmp_path)

    assert not any(tmp_path.iterdir())


def test_a_layer_is_never_named_like_what_its_files_import(package: Path) -> None:
    """It would hide the class that the source or the tests need."""
    trees = [ast.parse(path.read_text()) for path in package.rglob("*.py")]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    classes = {name.name for node in imports for name in node.names if name.name[0].isupper()} - {"RateLimit"}

    assert classes
    for name in classes:
        with pytest.raises(ConfigurationError):
            Names.of(re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower())


def test_the_package_is_complete(package: Path) -> None:
    """Project file, source, tests, README, changelog, CI."""
    written = sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file())

    assert written == FILES


def test_nothing_of_a_template_is_left(package: Path) -> None:
    """Every place was filled; the dollars that remain are those of a shell and of the workflow."""
    texts = [path.read_text() for path in package.rglob("*") if path.is_file()]

    left = {line.strip() for text in texts for line in text.splitlines() if "$" in line}

    assert left == {
        "$ pip install llamina-rate-limit",
        '$ python -m pip install -e ".[testing]"',
        "$ python -m pytest",
        "$ ruff check",
        "$ mypy",
        "python-version: ${{ matrix.python }}",
    }


def test_the_project_file_announces_the_layer(package: Path) -> None:
    """The entry point names a class that the source has."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    source = ast.parse((package / "src/llamina_rate_limit/__init__.py").read_text())

    assert project["name"] == "llamina-rate-limit"
    assert project["entry-points"]["llamina.layers"] == {"rate_limit": "llamina_rate_limit:RateLimit"}
    assert "RateLimit" in [node.name for node in source.body if isinstance(node, ast.ClassDef)]


def test_the_new_layer_keeps_the_protocol(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a line of it was changed, every clause of the kit holds for it."""
    monkeypatch.syspath_prepend(package / "src")
    module = importlib.import_module("llamina_rate_limit")
    monkeypatch.delitem(sys.modules, "llamina_rate_limit")

    assert check_middleware(lambda: module.RateLimit(limit=1))


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    """What is there is not written over."""
    write_layer("rate-limit", tmp_path)
    changed = tmp_path / "llamina-rate-limit" / "README.md"
    changed.write_text("mine")

    with pytest.raises(ConfigurationError, match="exists already"):
        write_layer("rate-limit", tmp_path)

    assert changed.read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    """As one has after making a repository."""
    (tmp_path / "llamina-rate-limit").mkdir()

    assert write_layer("rate-limit", tmp_path) == 0

    assert (tmp_path / "llamina-rate-limit" / "pyproject.toml").exists()


def test_where_nothing_can_be_written_the_error_says_so(tmp_path: Path) -> None:
    """A file stands where a folder is needed."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="cannot write .*file"):
        write_layer("rate-limit", tmp_path / "file")


def test_it_says_what_was_written_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file, then three commands that can be copied, also where the folder has a space in its name."""
    write_layer("rate-limit", tmp_path / "my code")

    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]

    assert set(FILES) <= set(lines)
    assert lines[-3:] == [
        f"cd '{tmp_path}/my code/llamina-rate-limit'",
        'python -m pip install -e ".[testing]"',
        "python -m pytest",
    ]
