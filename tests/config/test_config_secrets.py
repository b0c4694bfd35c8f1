"""Secrets in stack files: filled in from the environment, shown nowhere, written as their variable."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

from llamina import ConfigurationError, load_stack
from llamina.secret import Secret

CANARY = "sk-canary-0123456789abcdef"
ENVIRON = {"THE_KEY": f" {CANARY}\n", "EMPTY": " "}
SERVER = {"type": "http", "base_url": "http://127.0.0.1:8000/v1"}


def loaded(**settings: Any) -> Any:
    """A stack over a server with these settings."""
    return load_stack({"transport": {**SERVER, **settings}}, environ=ENVIRON)


def test_a_key_is_filled_in_and_written_as_its_variable() -> None:
    """White space round it is none of it."""
    stack = loaded(api_key="${THE_KEY}", headers={"Authorization": "Bearer ${THE_KEY}", "x-team": "a"})

    config = stack.to_config()

    assert stack.transport.api_key.reveal() == CANARY
    assert stack.transport.headers["Authorization"].reveal() == f"Bearer {CANARY}"
    assert config["transport"]["api_key"] == "${THE_KEY}"
    assert config["transport"]["headers"] == {"Authorization": "Bearer ${THE_KEY}", "x-team": "a"}
    assert load_stack(config, environ=ENVIRON).to_config() == config


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${NOT_SET}", ["transport.api_key", "NOT_SET is not set", "export NOT_SET="]),
        ("${EMPTY}", ["transport.api_key", "EMPTY is not set, or empty"]),
        ("${}", ["transport.api_key", "which is no name", "write ${NAME}"]),
        ("${A:-b}", ["transport.api_key", "'A:-b'", "write ${NAME}"]),
        ("${THE_KEY", ["transport.api_key", 'without a name and "}"']),
        (7, ["transport.api_key", "must be text, got int"]),
    ],
)
def test_a_key_that_cannot_be_had_is_told_of(value: Any, words: list[str]) -> None:
    """The variable and the place are named."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(api_key=value)

    assert [word for word in words if word not in str(caught.value)] == []


def test_a_key_in_plain_text_is_warned_of() -> None:
    """It works, for servers on this machine ask for a word; it is not written back."""
    with pytest.warns(UserWarning, match=r"the stack: transport\.api_key holds a secret in plain text") as seen:
        stack = loaded(api_key=CANARY)

    assert CANARY not in str(seen[0].message)
    assert seen[0].filename == __file__
    assert "api_key" not in stack.to_config()["transport"]


def test_a_key_in_plain_text_within_a_stack_is_found() -> None:
    """The place is told from the top."""
    with pytest.warns(
        UserWarning, match=r"transport\.transport\.headers\.\['x-api-key'\]|transport\.transport\.headers\["
    ):
        load_stack({"transport": {"type": "stack", "transport": {**SERVER, "headers": {"x-api-key": CANARY}}}})


def test_a_secret_that_stood_in_a_file_is_not_written_again() -> None:
    """Neither where the layer can tell itself, nor where only the file could."""
    entry = {"type": "config_strangers:Keyed", "token": CANARY, "api_key": CANARY, "blob": CANARY}
    with pytest.warns(UserWarning, match="in plain text"):
        stack = load_stack({"transport": "echo", "layers": [entry]})

    assert CANARY not in str(stack.to_config())


def test_none_is_no_secret() -> None:
    """`api_key = false` is a server without keys."""
    assert loaded(api_key=False).transport.api_key is None


def test_a_secret_of_code_is_taken_without_a_word() -> None:
    """A mapping that code has made may hold a Secret; it is left out when the stack is written."""
    stack = loaded(api_key=Secret(CANARY), headers={"x-api-key": Secret(CANARY)})

    assert stack.transport.api_key.reveal() == CANARY
    assert stack.to_config()["transport"] == SERVER


def test_a_key_of_a_preset_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found again as it was found."""
    monkeypatch.setenv("GROQ_API_KEY", CANARY)

    stack = load_stack({"transport": {"type": "http", "provider": "groq"}})

    assert stack.to_config()["transport"] == {"type": "http", "provider": "groq"}


def test_a_strangers_secret_is_filled_in_by_its_type_or_its_name() -> None:
    """`token: Secret` gets a Secret, `api_key: str` the text."""
    entry = {"type": "config_strangers:Keyed", "token": "${THE_KEY}", "api_key": "x ${THE_KEY}"}

    stack = load_stack({"transport": "echo", "layers": [entry]}, environ=ENVIRON)

    assert stack.layers[0].token.reveal() == CANARY
    assert stack.layers[0].api_key == f"x {CANARY}"
    assert stack.to_config()["layers"] == [entry]


def test_a_field_that_is_a_secret_by_its_name_is_written_as_its_variable() -> None:
    """An attrs class keeps the text; the file knows where it came from."""
    entry = {"type": "config_strangers:Limit", "limit": 1, "api_key": "${THE_KEY}"}

    stack = load_stack({"transport": "echo", "layers": [entry]}, environ=ENVIRON)

    assert stack.layers[0].api_key == CANARY
    assert stack.to_config()["layers"] == [entry]


def test_a_secret_given_in_code_is_never_written() -> None:
    """Neither by the fields of a class, nor by what it says itself."""
    import config_strangers as strangers

    from llamina import build_stack
    from llamina.transports import EchoTransport

    layers = [strangers.Limit(1, api_key=CANARY), strangers.Told(["a"], token=CANARY)]
    config = build_stack(layers, EchoTransport()).to_config()

    assert config["layers"] == [
        {"type": "config_strangers:Limit", "limit": 1},
        {"type": "config_strangers:Told", "words": ["a"]},
    ]


WRONG = {
    "a setting is misspelt": {**SERVER, "api_key": "${THE_KEY}", "base_urll": "x"},
    "the address is refused": {**SERVER, "api_key": "${THE_KEY}", "base_url": "nowhere"},
    "the engine is refused": {**SERVER, "api_key": "${THE_KEY}", "engine": "steam"},
    "the key is refused": {**SERVER, "api_key": "Bearer ${THE_KEY}"},
    "the key cannot be sent": {**SERVER, "api_key": "${THE_KEY} \u2603"},
    "a header cannot be sent": {**SERVER, "headers": {"x-api-key": "${THE_KEY}\n"}},
    "a stranger repeats it": {"type": "config_strangers:Keyed", "token": "${THE_KEY}", "api_key": "bad ${THE_KEY}"},
}


@pytest.mark.parametrize("transport", WRONG.values(), ids=WRONG.keys())
def test_no_error_shows_a_secret(transport: dict[str, Any]) -> None:
    """Not its text, not its traceback, not what it drags along."""
    with pytest.raises(ConfigurationError) as caught:
        load_stack({"transport": transport}, environ=ENVIRON)

    error: BaseException | None = caught.value
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    while error is not None:
        assert CANARY not in f"{error} {error!r} {error.args}"
        error = error.__cause__ or error.__context__


def test_a_stack_shows_no_secret() -> None:
    """Neither printed, nor explained, nor written, nor pickled."""
    stack = loaded(api_key="${THE_KEY}", headers={"x-token": "${THE_KEY}"})

    shown = [str(stack), repr(stack), repr(stack.transport), stack.explain(), str(stack.to_config())]
    shown.append(str(pickle.dumps(stack.transport.api_key)))

    assert not [text for text in shown if CANARY in text]


def test_two_characters_can_be_written_elsewhere() -> None:
    """`$${` is `${` where no secret is meant."""
    said = {"transport": {**SERVER, "headers": {"x-team": "$${team}"}}}

    stack = load_stack(said)

    assert stack.transport.headers["x-team"] == "${team}"
    assert stack.to_config()["transport"] == said["transport"]


def test_a_secret_that_a_stranger_tells_is_not_written() -> None:
    """By its own name it is the variable, elsewhere it is left out."""
    entry = {"type": "config_strangers:Signing", "signing_key": "${THE_KEY}"}

    stack = load_stack({"transport": "echo", "layers": [entry]}, environ=ENVIRON)

    assert stack.layers[0].signing_key == CANARY
    assert stack.to_config()["layers"] == [{**entry, "used": []}]


def test_secrets_in_a_list_are_written_as_their_variables_or_left_out() -> None:
    """Nothing else stands in their place."""
    entry = {"type": "config_strangers:Ring", "keys": ["${THE_KEY}"]}
    read = load_stack({"transport": "echo", "layers": [entry]}, environ=ENVIRON)
    made = load_stack({"transport": "echo", "layers": [{**entry, "keys": [Secret(CANARY)]}]})

    assert read.to_config()["layers"] == [entry]
    assert made.to_config()["layers"] == [{"type": "config_strangers:Ring"}]
