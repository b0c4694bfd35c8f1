"""Secrets in stack files: `"${NAME}"` is filled in from the environment, and never shown.

    secret, parts = fill_in("Bearer ${TEAM_TOKEN}", os.environ)
    secret.template                             # "Bearer ${TEAM_TOKEN}", which is what a written stack says

The one surprise: only settings that hold a secret are filled in. Elsewhere `${` is refused, so that nobody thinks it was
read; `$${` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ConfigurationError
from .secret import Secret

__all__ = ["FromEnvironment", "Said", "escaped", "fill_in", "plain_text"]

_NAME = re.compile(r"\$\{([^{}$]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class FromEnvironment(Secret):
    """A secret that knows which variable it came from."""

    __slots__ = ("template",)

    template: str

    def __init__(self, value: str, template: str) -> None:
        super().__init__(value)
        self.template = template


def fill_in(text: str, environ: Mapping[str, str]) -> tuple[Secret, list[Secret]]:
    """The secret that *text* says, and what of it came from the environment: nothing, if it is written out.

    Raises:
        ConfigurationError: a variable is not set, or its name is none. The message holds no part of a secret.
    """
    if "${" not in text:
        return Secret(text), []
    found_here: list[Secret] = []

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not _VARIABLE.fullmatch(name):
            raise ConfigurationError(f"names the variable {name!r}, which is no name; write ${{NAME}}")
        found = environ.get(name, "").strip()
        if not found:
            raise ConfigurationError(f"the environment variable {name} is not set, or empty; export {name}=...")
        found_here.append(Secret(found))
        return found

    filled, count = _NAME.subn(value, text)
    if not count:
        raise ConfigurationError('has "${" without a name and "}" behind it; write ${NAME}')
    return FromEnvironment(filled, text), found_here


def plain_text(text: str) -> str:
    """A text that is no secret.

    Raises:
        ConfigurationError: it names a variable.
    """
    if "${" in text.replace("$${", ""):
        raise ConfigurationError(
            f"only settings that hold a secret are filled in from the environment, got {text!r}; "
            "write the value itself, or $${ for the two characters"
        )
    return text.replace("$${", "${")


def escaped(text: str) -> str:
    """*text* as a stack file says it."""
    return text.replace("${", "$${")


class Said:
    """What the parts of a stack were read from, for those that cannot tell themselves; kept by the stack."""

    def __init__(self, secrets: Sequence[Secret] = ()) -> None:
        self._secrets = secrets
        self._entries: dict[int, tuple[Any, Mapping[str, Any]]] = {}

    def keep(self, part: Any, entry: Mapping[str, Any]) -> None:
        """Remember the table that *part* was made from."""
        self._entries[id(part)] = (part, entry)  # with the part itself, so that its id stays its own

    def of(self, part: Any) -> Mapping[str, Any]:
        """The table that *part* was made from; empty if it was not read."""
        found = self._entries.get(id(part))
        return found[1] if found is not None else {}

    def template_of(self, text: str) -> str | None:
        """How a file says the secret that *text* is; None if it is none that came from the environment."""
        found = [one.template for one in self._secrets if isinstance(one, FromEnvironment) and one.reveal() == text]
        return found[0] if found else None

    def shows_secret(self, text: str) -> bool:
        """Whether a secret that was read stands in *text*; one of a few characters may stand there by chance."""
        return any([len(one.reveal()) > 7 and one.reveal() in text for one in self._secrets])
