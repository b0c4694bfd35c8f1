"""A package with one layer, complete: what `llamina new layer NAME` writes.

    write_layer("rate-limit", Path())      # ./llamina-rate-limit, whose tests pass at once

The layer in it is small and right, to be read and replaced: it holds back what is above a limit.

The one surprise: the package is called `llamina-NAME` whether NAME says so or not; in a stack file the layer is `NAME`
with underscores.
"""

from __future__ import annotations

import builtins
import keyword
import re
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Self

from attrs import frozen

import llamina
from llamina.errors import ConfigurationError
from llamina.plugins import BUILT_IN, normalised

__all__ = ["Names", "write_layer"]

_FILES = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    "CHANGELOG.md": "CHANGELOG.md.tmpl",
    ".gitignore": "gitignore.tmpl",
    ".github/workflows/ci.yml": "ci.yml.tmpl",
    "src/$module/__init__.py": "layer.py.tmpl",
    "src/$module/py.typed": "",
    "tests/test_$name.py": "test_layer.py.tmpl",
}
"""Where each file goes, and what it is made of."""

# What a package may be called (PEP 508), but beginning with a letter: a class is named after it.
_NAME = re.compile(r"[a-z](?:[a-z0-9._-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)
_LONGEST = 60  # a folder, a module and a class are named after it
_TAKEN = {"ClassVar", "ConfigurationError", "FakeTransport", "Handler", "Request", "Response"}


@frozen
class Names:
    """What a layer is called, everywhere.

    Attributes:
        name: in stack files: rate_limit.
        package: what is installed: llamina-rate-limit.
        module: what is imported: llamina_rate_limit.
        class_name: RateLimit.
    """

    name: str
    package: str
    module: str
    class_name: str

    @classmethod
    def of(cls, given: str) -> Self:
        """The names that follow from *given*, with or without `llamina-` before it.

        Raises:
            ConfigurationError: no package, module and class can be called so, or llamina has a layer of this name.
        """
        if not _NAME.fullmatch(given):
            raise ConfigurationError(
                f"a layer cannot be called {given!r}: use letters, digits and single hyphens, "
                "a letter first, like rate-limit"
            )
        plain = re.sub(r"[-_.]+", "-", given).lower().removeprefix("llamina-")  # as indexes compare names (PEP 503)
        name = normalised(plain)
        class_name = "".join([word.capitalize() for word in plain.split("-")])
        if len(plain) > _LONGEST:
            raise ConfigurationError(f"{given!r} is longer than {_LONGEST} characters; a shorter name reads better")
        if name in BUILT_IN["layer"] or name == "llamina":
            raise ConfigurationError(
                f"llamina has a {name!r} of its own, which would be found instead of yours; use another name"
            )
        if keyword.iskeyword(name) or not class_name.isidentifier() or hasattr(builtins, class_name):
            raise ConfigurationError(f"{given!r} means something in Python; use another name, like {plain}-guard")
        if class_name in _TAKEN:
            raise ConfigurationError(
                f"{class_name} is a class that layers import; use another name, like {plain}-guard"
            )
        if class_name.startswith("Test"):
            raise ConfigurationError(
                f"pytest takes the class {class_name} for a test; use another name, like my-{plain}"
            )
        return cls(name, f"llamina-{plain}", f"llamina_{name}", class_name)


def write_layer(name: str, into: Path) -> int:
    """Write the package for a layer called *name* in a new folder within *into*, and say what to do next; 0.

    Raises:
        ConfigurationError: the name cannot be used, the folder exists and is not empty, or it cannot be written.
    """
    names = Names.of(name)
    folder = into / names.package
    words = {
        "name": names.name,
        "package": names.package,
        "module": names.module,
        "class_name": names.class_name,
        "since": ".".join(llamina.__version__.split(".")[:2]),
    }
    try:
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise ConfigurationError(f"{folder} exists already and is not empty; move it away, or use another name")
        written = [_write(folder, Template(path).substitute(words), source, words) for path, source in _FILES.items()]
    except OSError as error:
        raise ConfigurationError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    print(f"{folder}: a package with the layer {names.class_name}, in stack files {names.name!r}\n")
    for path in written:
        print(f"  {path}")
    print("\nNext:\n")
    for command in (
        f"cd {shlex.quote(str(folder))}",
        'python -m pip install -e ".[testing]"',
        "python -m pytest",
    ):
        print(f"  {command}")
    return 0


def _write(folder: Path, path: str, source: str, words: dict[str, str]) -> str:
    text = Template(_template(source)).substitute(words) if source else ""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
    return path


def _template(name: str) -> str:
    return (files("llamina.cli") / "templates" / "layer" / name).read_text(encoding="utf-8")
