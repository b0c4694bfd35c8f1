"""An entry point in a group that is spelt otherwise: it is named, where the package would look as if it were empty."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

import pytest

from llamina import ConfigurationError
from llamina.plugins import names, plugins, resolve


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The entry points of a package, to be written."""
    monkeypatch.setattr("llamina.plugins.distributions", lambda: distributions(path=[str(tmp_path)]))
    metadata = tmp_path / "llamina_quota-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: llamina-quota\nVersion: 1.0\n")
    return metadata / "entry_points.txt"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("llamina.layer", "llamina.layers"),
        ("llamina.Layers", "llamina.layers"),
        ("llamina.transport", "llamina.transports"),
        ("llamina.backoff", "llamina.backoffs"),
        ("llamina.store", "llamina.stores"),
    ],
)
def test_a_group_that_is_spelt_otherwise_is_named(announced: Path, written: str, meant: str) -> None:
    """Once, with the group that was meant; the name is not to be had."""
    announced.write_text(f"[{written}]\nquota = llamina_quota:Quota\n")

    (found,) = plugins()

    kind = meant.removeprefix("llamina.").removesuffix("s")
    assert (found.kind, found.name) == (kind, "quota")
    assert f"the group {written!r}, which nobody reads; did you mean {meant!r}?" in found.problem
    assert "quota" not in names(kind)
    with pytest.raises(ConfigurationError, match="which nobody reads; did you mean"):
        resolve(kind, "quota")


@pytest.mark.parametrize(
    "written", ["llamina.wires", "llamina.prices", "llamina", "other.layers", "llamina_cli.layers"]
)
def test_a_group_that_is_like_none_is_nobodys_fault(announced: Path, written: str) -> None:
    """It may be for another version, or another program."""
    announced.write_text(f"[{written}]\nquota = llamina_quota:Quota\n")

    assert plugins() == []
