"""The pages about configuration say what the code takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llamina._config_read import TOP
from llamina._config_schema import written_settings
from llamina.plugins import BUILT_IN, resolve
from llamina.policy.accounts import Budget
from llamina.policy.retry_budget import RetryBudget

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def rows() -> dict[str, dict[str, list[str]]]:
    """For each name in a heading: its settings, with the cells of their rows."""
    text = "\n".join([(PAGES / page).read_text() for page in ("configuration.md", "configuration-layers.md")])
    found: dict[str, dict[str, list[str]]] = {}
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE):
        heading, _, body = section.partition("\n")
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines() if line.startswith("| `")]
        for name in heading.split(", "):
            found.setdefault(name, {}).update({row[0].strip(" `"): [cell.strip() for cell in row] for row in cells})
    return found


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, own in BUILT_IN.items() for name in own])
def test_every_setting_of_a_built_in_is_listed(kind: str, name: str) -> None:
    """And no other, each with what it does; a plain default is the right one."""
    settings = {setting.name: setting for setting in written_settings(resolve(kind, name))}

    listed = rows()[name]

    assert set(listed) == set(settings)
    assert all(row[3] for row in listed.values())
    for setting, row in listed.items():
        default = settings[setting].default
        if isinstance(default, int | float) and setting != "level":
            assert row[2].split(";")[0] == f"`{str(default).lower()}`" or name == "linear"


@pytest.mark.parametrize(("heading", "target"), [("Budget", Budget), ("Retry budget", RetryBudget)])
def test_every_setting_of_a_table_is_listed(heading: str, target: type) -> None:
    """Those that are written without a type too."""
    assert set(rows()[heading]) == {setting.name for setting in written_settings(target)}


def test_every_key_of_the_file_is_listed() -> None:
    """What stands at the top of a file."""
    assert set(rows()["The file"]) >= set(TOP)
