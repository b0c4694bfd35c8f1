"""The words of a conversation: messages, their parts, tool calls and token counts.

    Message.user("What is this?", Image.from_path("cat.png"))
    Message.system("Be brief.")

Every part has a `raw` slot for what a provider needs back verbatim (a signature, an id, a cache mark). It is a mapping
with one entry for each wire, `{"anthropic": {"signature": "..."}}`; a codec reads and writes the entry of its own wire
only, so a conversation can go on with another provider. A part that llamina has no type for is an `UnknownPart` and
passes through untouched. All of them are frozen values.

The one surprise: `ToolCall.arguments` is parsed when it is asked for, and raises a clear error when the model wrote
bad JSON; `ToolCall.arguments_text` is always what the model wrote.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

from ._media import checked_bytes, data_url, document_type, known_type, located, read, rich, shown
from .errors import InvalidRequestError, MalformedResponseError

__all__ = [
    "Audio",
    "File",
    "Image",
    "Message",
    "Part",
    "Reasoning",
    "Text",
    "ToolCall",
    "ToolResult",
    "UnknownPart",
    "Usage",
    "cache_mark",
]


class Text(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    """A run of text."""

    text: str
    raw: Any = None


class Image(msgspec.Struct, frozen=True, tag="image", omit_defaults=True):
    """An image, as bytes with a media type (`image/png`) or as a URL."""

    data: bytes | None = None
    media_type: str = ""
    url: str | None = None
    detail: str | None = None
    raw: Any = None

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], detail: str | None = None) -> Image:
        """The image in the file at *path*, of the type that its first bytes tell. It is read here and now.

        *detail* is how closely the model looks, where a provider has a word for it ("low", "high", "auto").

        Raises:
            InvalidRequestError: there is no such file, or it holds no image.
        """
        data, name = read(path, "Image")
        return cls(data, known_type(data, "Image", name=name), detail=detail)

    @classmethod
    def from_bytes(
        cls, data: bytes | bytearray | memoryview, media_type: str | None = None, detail: str | None = None
    ) -> Image:
        """An image of *data*; its first bytes tell the type, unless *media_type* does.

        Raises:
            InvalidRequestError: it is empty, or of no type that is known; give *media_type* then.
        """
        data = checked_bytes(data, "Image")
        return cls(data, known_type(data, "Image", media_type), detail=detail)

    @classmethod
    def from_url(cls, url: str, detail: str | None = None) -> Image:
        """The image at an http or https address, which the provider fetches; of a `data:` URL, what is in it.

        No file is ever read, whatever *url* says.

        Raises:
            InvalidRequestError: it is another URL, or a broken one.
        """
        if located(url, "Image") != "data":
            return cls(url=url, detail=detail)
        kind, data = data_url(url, "Image")
        return cls(data, known_type(data, "Image", kind or None), detail=detail)

    def __repr__(self) -> str:
        return shown(self)

    def __rich_repr__(self) -> Any:
        return rich(self)


class Audio(msgspec.Struct, frozen=True, tag="audio", omit_defaults=True):
    """A sound, as bytes with a media type (`audio/wav`); *transcript* where the provider gives one."""

    data: bytes | None = None
    media_type: str = ""
    url: str | None = None
    transcript: str | None = None
    raw: Any = None

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> Audio:
        """The sound in the file at *path*, of the type that its first bytes tell. It is read here and now.

        Raises:
            InvalidRequestError: there is no such file, or it holds no sound.
        """
        data, name = read(path, "Audio")
        return cls(data, known_type(data, "Audio", name=name))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, media_type: str | None = None) -> Audio:
        """A sound of *data*; its first bytes tell the type, unless *media_type* does.

        Raises:
            InvalidRequestError: it is empty, or of no type that is known; give *media_type* then.
        """
        data = checked_bytes(data, "Audio")
        return cls(data, known_type(data, "Audio", media_type))

    def __repr__(self) -> str:
        return shown(self)

    def __rich_repr__(self) -> Any:
        return rich(self)


class File(msgspec.Struct, frozen=True, tag="file", omit_defaults=True):
    """A document: bytes with a media type and a name, a URL, or the id of an upload."""

    data: bytes | None = None
    media_type: str = ""
    name: str | None = None
    url: str | None = None
    file_id: str | None = None
    raw: Any = None

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], media_type: str | None = None) -> File:
        """The file at *path* under its own name, of the type that its beginning or its ending tells.

        Raises:
            InvalidRequestError: there is no such file, or nothing tells its type; give *media_type* then.
        """
        data, name = read(path, "File")
        return cls(data, document_type(data, media_type, name), name)

    @classmethod
    def from_bytes(
        cls, data: bytes | bytearray | memoryview, name: str | None = None, media_type: str | None = None
    ) -> File:
        """A document of *data*; its first bytes or its *name* tell the type, unless *media_type* does.

        Raises:
            InvalidRequestError: it is empty, or nothing tells its type; give *media_type* then.
        """
        data = checked_bytes(data, "File")
        return cls(data, document_type(data, media_type, name), name)

    @classmethod
    def from_url(cls, url: str, name: str | None = None) -> File:
        """The document at an http or https address, which the provider fetches; of a `data:` URL, what is in it.

        No file is ever read, whatever *url* says.

        Raises:
            InvalidRequestError: it is another URL, or a broken one.
        """
        if located(url, "File") != "data":
            return cls(name=name, url=url)
        kind, data = data_url(url, "File")
        return cls(data, document_type(data, kind or None, name), name)

    def __repr__(self) -> str:
        return shown(self)

    def __rich_repr__(self) -> Any:
        return rich(self)


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """A call of a tool, as the model wrote it."""

    id: str
    name: str
    arguments_text: str = ""
    raw: Any = None

    @property
    def arguments(self) -> Any:
        """The parsed arguments.

        Raises:
            MalformedResponseError: the model wrote no valid JSON; `arguments_text` holds what it wrote.
        """
        try:
            return msgspec.json.decode(self.arguments_text or "{}")
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise MalformedResponseError(
                f"the arguments of tool call {self.name!r} are no valid JSON ({error}); "
                "read `arguments_text` for what the model wrote"
            ) from error


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", omit_defaults=True):
    """What a tool gave back for the call with *id*; *content* is text or parts."""

    id: str
    content: str | tuple[Part, ...] = ""
    name: str | None = None
    is_error: bool = False
    raw: Any = None

    @property
    def text(self) -> str:
        """The text of the result."""
        return self.content if isinstance(self.content, str) else _text(self.content)


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning", omit_defaults=True):
    """What the model thought aloud; *raw* keeps signatures and encrypted forms that a provider wants back."""

    text: str = ""
    raw: Any = None


class UnknownPart(msgspec.Struct, frozen=True, tag="unknown", omit_defaults=True):
    """A part that llamina has no type for, as the wire had it: *raw* is the part itself.

    *wire* names the wire that it came from, and no other can say it; "" is what a caller wrote, which goes to any.
    """

    raw: Any = None
    wire: str = ""


Part: TypeAlias = Text | Image | Audio | File | ToolCall | ToolResult | Reasoning | UnknownPart


_P = TypeVar("_P", Text, Image, Audio, File, ToolCall, ToolResult, Reasoning)


def cache_mark(part: _P, *, ttl: str | None = None) -> _P:
    """A copy of *part* that asks Anthropic to cache the prompt up to and with it; other providers see no mark.

    *ttl* is how long it is kept: "5m" (the provider's default) or "1h", which costs more to write.

    Raises:
        InvalidRequestError: *ttl* is another, or *part* cannot be marked.
    """
    if ttl not in (None, "5m", "1h"):
        raise InvalidRequestError(f"cache_mark(ttl=) must be '5m', '1h' or None, got {ttl!r}")
    if not isinstance(part, Text | Image | Audio | File | ToolCall | ToolResult | Reasoning):
        remedy = 'for a text write Text("...")' if isinstance(part, str) else "write the mark into its own fields"
        raise InvalidRequestError(f"cache_mark marks a part of a message, got {type(part).__name__}; {remedy}")
    raw = {} if part.raw is None else part.raw
    mine = raw.get("anthropic") or {} if isinstance(raw, Mapping) else None
    if not isinstance(mine, Mapping):
        raise InvalidRequestError(f"{type(part).__name__}.raw must map a wire to its further fields to be marked")
    mark = {"type": "ephemeral"} if ttl is None else {"type": "ephemeral", "ttl": ttl}
    return msgspec.structs.replace(part, raw={**raw, "anthropic": {**mine, "cache_control": mark}})


def _text(parts: Iterable[Part]) -> str:
    return "".join([part.text for part in parts if type(part) is Text])


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message: a role (`system`, `developer`, `user`, `assistant`, `tool`) and its parts.

    *name* is the participant's name where a provider takes one; *extra* are further fields, passed through verbatim.
    """

    role: str
    parts: tuple[Part, ...] = ()
    name: str | None = None
    extra: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if type(self.parts) is not tuple:  # a text is iterable too, and would be lost letter by letter
            msgspec.structs.force_setattr(self, "parts", _parts_of(self.parts))

    @property
    def text(self) -> str:
        """All text parts as one string (tool results and reasoning are not part of it)."""
        parts = self.parts
        if len(parts) == 1:
            part = parts[0]
            return part.text if type(part) is Text else ""
        return _text(parts)

    @property
    def reasoning(self) -> str:
        """All reasoning as one string."""
        return "".join([part.text for part in self.parts if type(part) is Reasoning])

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple([part for part in self.parts if type(part) is ToolCall])

    def with_text(self, text: str) -> Message:
        """A copy whose text is *text*, at the place of the first text; all other parts stay."""
        rest = [part for part in self.parts if type(part) is not Text]
        place = next((index for index, part in enumerate(self.parts) if type(part) is Text), 0)
        if text:
            rest.insert(place, Text(text))
        return msgspec.structs.replace(self, parts=tuple(rest))

    @classmethod
    def system(cls, *content: str | Part) -> Message:
        """Instructions by the developer of the app."""
        return cls("system", _parts(content))

    @classmethod
    def developer(cls, *content: str | Part) -> Message:
        """Instructions under the role name that newer OpenAI models use."""
        return cls("developer", _parts(content))

    @classmethod
    def user(cls, *content: str | Part) -> Message:
        """What the person says or shows."""
        return cls("user", _parts(content))

    @classmethod
    def assistant(cls, *content: str | Part) -> Message:
        """What the model said."""
        return cls("assistant", _parts(content))

    @classmethod
    def tool(cls, *results: ToolResult) -> Message:
        """What tools gave back."""
        return cls("tool", results)

    @classmethod
    def of(cls, value: Message | str | Mapping[str, Any]) -> Message:
        """A message from a message, a user's text, or a mapping with `role` and `content`.

        Content parts of a mapping that are not text, and its further keys, pass through verbatim.

        Raises:
            InvalidRequestError: *value* is none of them.
        """
        if isinstance(value, Message):
            return value
        if isinstance(value, str):
            return cls("user", (Text(value),))
        if isinstance(value, Mapping) and isinstance(value.get("role"), str):
            extra = {key: item for key, item in value.items() if key not in ("role", "content", "name")}
            return cls(value["role"], _parts_of(value.get("content")), value.get("name"), extra or None)
        raise InvalidRequestError(
            f"a message must be a Message, a string or a mapping with a 'role', got {type(value).__name__}; "
            'write Message.user("...") or {"role": "user", "content": "..."}'
        )


def _parts(content: Iterable[str | Part]) -> tuple[Part, ...]:
    return tuple([Text(part) if isinstance(part, str) else part for part in content])


def _parts_of(content: Any) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list | tuple):
        raise InvalidRequestError(f"a message's content must be text or a list of parts, got {type(content).__name__}")
    return tuple([_part_of(part) for part in content])


def _part_of(part: Any) -> Part:
    if isinstance(part, str):
        return Text(part)
    if isinstance(part, Mapping):
        if part.keys() == {"type", "text"} and part["type"] == "text":
            return Text(part["text"])
        return UnknownPart(dict(part))
    if isinstance(part, Part):
        return part
    raise InvalidRequestError(f"a part of a message must be a part, text or a mapping, got {type(part).__name__}")


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, eq=False):
    """Tokens of one answer, normalised over providers. Equal counts are equal, whatever *raw* holds.

    `input_tokens` includes what was read from (`cache_read_tokens`) and written to (`cache_write_tokens`) a provider's
    prompt cache; `output_tokens` includes `reasoning_tokens`. `cache_write_long_tokens` are those of the written ones
    that are kept for an hour, which costs more; the audio counts are those of input and output that are sound.
    *raw* keeps the provider's own account.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_long_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    raw: Any = None

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.input_tokens + self.output_tokens

    def _counts(self) -> tuple[int, ...]:
        return (
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
            self.cache_write_long_tokens,
            self.input_audio_tokens,
            self.output_audio_tokens,
        )

    def __eq__(self, other: object) -> bool:
        return self._counts() == other._counts() if isinstance(other, Usage) else NotImplemented

    def __ne__(self, other: object) -> bool:
        # A Struct without generated equality has a `!=` of its own, by identity.
        return self._counts() != other._counts() if isinstance(other, Usage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._counts())

    def __add__(self, other: Usage) -> Usage:
        return Usage(*[mine + theirs for mine, theirs in zip(self._counts(), other._counts(), strict=True)])
