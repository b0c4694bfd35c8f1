"""A key that does not show itself: a `Secret` prints, logs and pickles as a short id.

    key = Secret("sk-live-0123456789")
    print(key)                      # sk-…ca5c
    key.reveal()                    # "sk-live-0123456789"

The id is the key's public prefix, where it has one, and the start of its SHA-256: enough to tell two keys apart in a
log, nothing to call a provider with.

The one surprise: a pickled Secret keeps its id and loses its value, so that a key never reaches a cache, a queue or a
crash report. `reveal()` of such a copy raises; build the Secret where it is used.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Any

from .errors import ConfigurationError

__all__ = ["Secret", "mask", "names_credential"]

_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_PUBLIC_PREFIX = re.compile(r"[A-Za-z]{2,4}[-_]")
_SHORTEST_WITH_PREFIX = 16
"""A shorter key has too little left for a part of it to be shown."""


def names_credential(header: str) -> bool:
    """Whether a header of this name says who somebody is, so that nobody else may see or send its value."""
    return bool(_CREDENTIAL.search(header)) and header.lower() != "idempotency-key"


class Secret:
    """A key, a token or a password.

    Attributes:
        id: what is shown in its place.

    Raises:
        ConfigurationError: *value* is no text, or empty. The message never holds it.
    """

    __slots__ = ("_value", "id")

    id: str
    _value: str | None

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value:
            what = "an empty text" if value == "" else type(value).__name__
            raise ConfigurationError(f"a Secret must be a text of at least 1 character, got {what}")
        self._value = value
        prefix = _PUBLIC_PREFIX.match(value) if len(value) >= _SHORTEST_WITH_PREFIX else None
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        self.id = f"{prefix[0] if prefix else ''}…{digest[:4]}"

    @classmethod
    def of(cls, value: str | Secret) -> Secret:
        """*value* as a Secret; one that is one already stays as it is."""
        return value if isinstance(value, Secret) else cls(value)

    def reveal(self) -> str:
        """The value itself. Ask for it where it is sent, and keep it nowhere.

        Raises:
            ConfigurationError: this is a pickled copy, which has no value.
        """
        if self._value is None:
            raise ConfigurationError(
                f"the secret {self.id} was pickled and has lost its value; build the Secret in the process that uses it"
            )
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.id!r})"

    def __str__(self) -> str:
        return self.id

    def __format__(self, form: str) -> str:
        return format(self.id, form)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self._value is None or other._value is None:
            return self._value is other._value and self.id == other.id
        # Bytes: compare_digest refuses text beyond ASCII.
        return hmac.compare_digest(
            self._value.encode("utf-8", "surrogatepass"), other._value.encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((Secret, self.id))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: Any) -> Secret:
        return self

    def __reduce__(self) -> Any:
        return (_without_value, (self.id,))


def _without_value(shown: str) -> Secret:
    secret = Secret.__new__(Secret)
    secret._value = None
    secret.id = shown
    return secret


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """*text* with the id of each secret in the place of its value, for texts that others wrote."""
    for secret in secrets:
        if secret._value is not None and secret._value in text:
            text = text.replace(secret._value, secret.id)
    return text
