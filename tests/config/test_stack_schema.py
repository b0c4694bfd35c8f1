"""The JSON schema of stack files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from test_load_stack import TOML
from test_to_config import CASES, built
from test_wrong_files import WRONG

from llamina.config import schema
from llamina.plugins import BUILT_IN

jsonschema = pytest.importorskip("jsonschema")
EXAMPLE = Path(__file__).parents[2] / "examples" / "stack.toml"
NEEDS_MORE = (
    "a value that",
    "not a number",
    "without an end",
    "a price",
    "a period",
    "a function that",
    "a module",
    "a table of errors",
    "a variable",
    "a strangers",
    "a choice",
    "a table in",
    "an amount of",
    "a table that is",
    "what ",
    "a buffer",
)
"""Faults that no schema can know: what a class refuses, what cannot be imported."""


@pytest.fixture(scope="module")
def validator() -> Any:
    """The schema, ready to check."""
    return jsonschema.Draft202012Validator(schema())


def test_the_schema_is_one(validator: Any) -> None:
    """Of draft 2020-12, and plain data."""
    jsonschema.Draft202012Validator.check_schema(schema())

    assert json.loads(json.dumps(schema())) == schema()


def test_it_has_every_built_in_with_its_settings() -> None:
    """Types, defaults and what the docstrings say."""
    definitions = schema()["$defs"]

    assert {f"{kind}.{name}" for kind, own in BUILT_IN.items() for name in own} <= set(definitions)
    attempts = definitions["layer.retry"]["properties"]["attempts"]
    assert attempts == {"type": "integer", "default": 3, "description": "total tries, at least 1."}
    assert definitions["layer.map_text"]["required"] == ["type", "function"]


def test_no_setting_is_without_a_description() -> None:
    """An editor shows what each is for."""
    entries = {name: table for name, table in schema()["$defs"].items() if "." in name and "*" not in name}

    silent = [
        f"{name}.{setting}"
        for name, table in entries.items()
        for setting, form in table["properties"].items()
        if setting not in ("type", "stall") and not form.get("description") and not name.startswith("backoff")
    ]

    assert silent == []


@pytest.mark.parametrize("text", [TOML, EXAMPLE.read_text()], ids=["a file of the tests", "the example"])
def test_right_files_pass(validator: Any, text: str) -> None:
    """What can be loaded is not complained about."""
    assert [error.message for error in validator.iter_errors(tomllib.loads(text))] == []


@pytest.mark.parametrize("name", CASES)
def test_what_a_stack_says_passes(validator: Any, name: str) -> None:
    """`to_config` writes what the schema takes."""
    config = built(CASES[name][0]).to_config()

    assert [error.message for error in validator.iter_errors(config)] == []


@pytest.mark.parametrize("name", [name for name in WRONG if not name.startswith(NEEDS_MORE)])
def test_wrong_files_do_not_pass(validator: Any, name: str) -> None:
    """An editor underlines what cannot be loaded, as far as a schema can know."""
    assert list(validator.iter_errors(tomllib.loads(WRONG[name][0])))
