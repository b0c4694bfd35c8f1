"""Answers of a given shape: a type asks for them, and reads them."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import msgspec
import pytest

from llamina import ConfigurationError, MalformedResponseError, Request, Response
from llamina.structured import json_schema, parse_json


class Unit(enum.Enum):
    """A scale."""

    C = "celsius"


@dataclasses.dataclass
class Place:
    """Somewhere."""

    city: str
    country: str | None = None


class Tree(msgspec.Struct):
    """A tree."""

    label: str
    children: list[Tree] = []


def test_a_request_may_hold_a_response_format() -> None:
    """It is plain data, so the request has an identity."""
    one, other = [Request.chat("m", "hi", response_format=json_schema(Place)) for _ in range(2)]

    assert one.identity == other.identity


def test_a_type_makes_a_response_format() -> None:
    """The neutral one, closed and complete."""
    assert json_schema(Place) == {
        "type": "json_schema",
        "json_schema": {
            "name": "Place",
            "schema": {
                "title": "Place",
                "description": "Somewhere.",
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "country": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "required": ["city", "country"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }


def test_a_response_format_that_is_not_strict_keeps_defaults() -> None:
    """And a name may be given."""
    found = json_schema(Place, "somewhere", strict=False)["json_schema"]

    assert (found["name"], found["strict"]) == ("somewhere", False)
    assert found["schema"]["required"] == ["city"]


def test_a_response_format_may_hold_itself() -> None:
    """The root stands under `$defs` too, where it is referred to."""
    schema = json_schema(Tree)["json_schema"]["schema"]

    assert schema["type"] == "object"
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert schema["$defs"]["Tree"]["required"] == ["label", "children"]


@pytest.mark.parametrize("kind", [int, list[Place], Unit, object])
def test_a_response_format_is_an_object(kind: Any) -> None:
    """Providers take no other; the error says what to do."""
    with pytest.raises(ConfigurationError, match="dataclass"):
        json_schema(kind)


def test_a_response_format_has_a_name_that_providers_take() -> None:
    """One that they refuse is found here."""
    with pytest.raises(ConfigurationError, match="name of a response format"):
        json_schema(Place, "no name")


def test_an_answer_is_read_as_a_value() -> None:
    """Of any type that JSON can say."""
    assert parse_json(Response.of('{"city": "Rome"}'), Place) == Place("Rome")
    assert parse_json(Response.of("[1, 2]"), list[int]) == [1, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"city": 3}', "no JSON of Place: city: expected str, got int"),
        ("Sure! Here", "no JSON of Place"),
        ("", "no JSON"),
    ],
)
def test_an_answer_that_does_not_fit_keeps_its_text(text: str, said: str) -> None:
    """On the error, for the app to look at."""
    with pytest.raises(MalformedResponseError, match=said) as caught:
        parse_json(Response.of(text), Place)

    assert caught.value.partial.text == text


def test_an_answer_that_was_cut_says_so() -> None:
    """The remedy is another than for a model that cannot write JSON."""
    with pytest.raises(MalformedResponseError, match="it ended with 'length'"):
        parse_json(Response.of('{"city": "Ro', finish_reason="length"), Place)
