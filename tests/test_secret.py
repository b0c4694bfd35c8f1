"""A Secret shows itself to nobody who does not ask for it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.secret import Secret, mask

KEY = "sk-canary-0123456789"
SHOWN = [
    pytest.param(repr, id="repr"),
    pytest.param(str, id="str"),
    pytest.param("{:>40}".format, id="format"),
    pytest.param(lambda secret: "%s %r" % (secret, [secret]), id="percent"),  # noqa: UP031
    pytest.param(lambda secret: json.dumps({"key": secret}, default=str), id="json"),
    pytest.param(lambda secret: pickle.dumps(secret).decode("latin-1"), id="pickle"),
    pytest.param(lambda secret: repr(copy.deepcopy({"key": secret})), id="deepcopy"),
    pytest.param(lambda secret: logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage(), id="log"),
    pytest.param(lambda secret: msgspec.json.encode({"key": secret}, enc_hook=str).decode(), id="msgspec"),
]


@pytest.mark.parametrize("show", SHOWN)
def test_a_secret_never_shows_its_value(show) -> None:
    """However it is printed, written or packed, the value is not in it."""
    shown = show(Secret(KEY))

    assert "canary" not in shown
    assert "0123456789" not in shown


def test_a_secret_shows_an_id() -> None:
    """The id is the public prefix and a piece of the digest, the same in every process."""
    assert str(Secret(KEY)) == Secret(KEY).id
    assert Secret(KEY).id.startswith("sk-…")
    assert len(Secret(KEY).id) == len("sk-…") + 4
    assert Secret(KEY).id != Secret(KEY + "x").id


def test_a_short_secret_shows_no_part_of_itself() -> None:
    """Of a short one even the prefix would tell too much."""
    assert Secret("ab-cd").id[0] == "…"


def test_reveal_gives_the_value() -> None:
    """Who asks for the value gets it."""
    assert Secret(KEY).reveal() == KEY


def test_a_copy_in_the_process_is_the_secret_itself() -> None:
    """A copied configuration still works."""
    secret = Secret(KEY)

    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_a_pickled_secret_has_lost_its_value() -> None:
    """What comes out of a pickle keeps the id and refuses to be revealed."""
    travelled = pickle.loads(pickle.dumps(Secret(KEY)))

    assert travelled.id == Secret(KEY).id
    with pytest.raises(ConfigurationError, match="lost its value"):
        travelled.reveal()


def test_secrets_compare_by_value_and_only_with_secrets() -> None:
    """Two of one value are equal and hash alike; text is never equal to a Secret."""
    assert Secret("kéy-one-long-enough") == Secret("kéy-one-long-enough")
    assert len({Secret(KEY), Secret(KEY), Secret("other")}) == 2
    assert Secret(KEY) != KEY
    assert pickle.loads(pickle.dumps(Secret(KEY))) != Secret(KEY)


@pytest.mark.parametrize("value", ["", None, b"sk-bytes", 7])
def test_what_is_no_text_is_refused(value) -> None:
    """An empty key or one of another type is a mistake, found when it is made."""
    with pytest.raises(ConfigurationError, match="Secret must be"):
        Secret(value)


def test_a_traceback_with_locals_shows_the_id_only() -> None:
    """A crash report that prints local variables does not print the key."""
    secret = Secret(KEY)

    try:
        raise RuntimeError("boom")
    except RuntimeError as error:
        report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    assert secret.id in report
    assert KEY not in report


@given(st.text(min_size=1), st.text(min_size=8), st.text())
def test_masking_leaves_no_value(before: str, value: str, after: str) -> None:
    """A text that somebody else wrote has the id where the value was."""
    secret = Secret(value)

    masked = mask(f"{before}{value}{after}", [secret])

    assert value not in masked or value in secret.id
    assert secret.id in masked
