"""Packages as an installer leaves them, without an installer: a folder of metadata and a module, on `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install("llamina-x", "code of llamina_x", layer={"x": "llamina_x:X"})`."""
    known = set(sys.modules)
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    # What the machine has installed besides is no matter of these tests.
    monkeypatch.setattr("llamina.plugins.distributions", lambda: distributions(path=[str(site)]))

    def write(package: str, code: str = "", *, version: str = "1.0", **announced: dict[str, str]) -> None:
        module = package.replace("-", "_")
        metadata = site / f"{module}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        groups = [
            f"[llamina.{kind}s]\n" + "".join([f"{name} = {target}\n" for name, target in entries.items()])
            for kind, entries in announced.items()
        ]
        (metadata / "entry_points.txt").write_text("\n".join(groups))
        (site / f"{module}.py").write_text(code)

    yield write
    for name in set(sys.modules) - known:
        if name.startswith("llamina_"):
            del sys.modules[name]
