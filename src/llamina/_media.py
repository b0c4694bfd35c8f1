"""Bytes of images, sounds and documents: where they come from, what they are, and how they show themselves.

    read("cat.png", "Image")                              # (b"...", "cat.png"): the only place that opens a file
    sniffed(data)                                         # "image/png", told by the first bytes
    data_url("data:image/png;base64,iVBORw0K", "Image")   # ("image/png", b"...")

The one surprise: what takes a URL or bytes never opens a file, whatever it is given. A text that a user of your app
typed can make no local file part of a request.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import InvalidRequestError

__all__ = ["checked_bytes", "data_url", "document_type", "known_type", "located", "read", "rich", "shown", "sniffed"]

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_BRANDS = {  # of the ISO container, at bytes 8 to 11
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
}
_CONTAINERS = {"video/mp4": "audio/mp4", "video/webm": "audio/webm"}
"""Who calls it an Audio says that there is sound in it."""
_SNIFFED = {kind for _, kind in _STARTS} | {*_RIFF.values(), *_BRANDS.values(), *_CONTAINERS, "image/bmp", "audio/aac"}
"""Types that the first bytes tell: a name alone makes nothing one of them."""
_BY_NAME = {  # beside those that Python knows of in every version
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_LONGEST = 80
"""Characters of a URL or a text that a repr shows."""


def sniffed(data: bytes) -> str:
    """The media type that the first bytes tell, or "" where they tell none."""
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "image/bmp"
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:  # the mark of a frame of MPEG sound
        return "audio/mpeg" if data[1] & 0x06 else "audio/aac"
    return ""


def _by_name(name: str | None) -> str:
    """The media type that a file's name tells by its ending, or ""."""
    import mimetypes

    stem, dot, ending = (name or "").rpartition(".")
    ending = f".{ending.lower()}" if stem and dot else ""
    # A table of its own: the module's functions mix in what the machine has installed.
    return _BY_NAME.get(ending) or mimetypes.MimeTypes().guess_type(f"file{ending}")[0] or ""


def known_type(data: bytes, owner: str, given: str | None = None, name: str | None = None) -> str:
    """The media type of *data* for an Image or Audio: the *given* one, or what the first bytes tell.

    A file's *name* is asked only for types that no first bytes tell: a text that is called cat.png is no image.

    Raises:
        InvalidRequestError: it is of another family, or cannot be told.
    """
    family = f"{owner.lower()}/"
    if given is not None:
        if not isinstance(given, str) or not given.lower().startswith(family):
            raise InvalidRequestError(f"{owner}.media_type must begin with {family!r}, got {given!r}")
        return given
    found = sniffed(data)
    if family == "audio/":
        found = _CONTAINERS.get(found, found)
    by_name = _by_name(name)
    if not found and by_name.startswith(family) and by_name not in _SNIFFED:
        found = by_name
    if found.startswith(family):
        return found
    subject = "these bytes" if name is None else f"the bytes of {name!r}"
    what = f"are {found}" if found else f"do not begin as any known {owner.lower()} does"
    remedy = f"send them as a File, or say what they are: {owner}.from_bytes(data, media_type='{family}...')"
    raise InvalidRequestError(f"{subject} {what}; {remedy}")


def document_type(data: bytes, given: str | None = None, name: str | None = None) -> str:
    """The media type of *data* for a File: the *given* one, or what its first bytes, its name or its text tell.

    Raises:
        InvalidRequestError: none of them tells.
    """
    if given is not None:
        if not isinstance(given, str) or "/" not in given:
            raise InvalidRequestError(f"File.media_type must be like 'application/pdf', got {given!r}")
        return given
    found = sniffed(data)
    if found != "application/pdf":  # what is called .pdf and is none, or the other way round, is told by its bytes
        by_name = _by_name(name)
        found = by_name if by_name and by_name not in _SNIFFED else found
    if found:
        return found
    try:
        if "\0" not in data.decode():
            return "text/plain"
    except UnicodeDecodeError:
        pass
    subject = "these bytes" if name is None else f"the bytes of {name!r}"
    raise InvalidRequestError(
        f"{subject} are no text, and neither their beginning nor a name tells their type; "
        "say it: File.from_bytes(data, name, media_type='...')"
    )


def checked_bytes(data: Any, owner: str) -> bytes:
    """*data* as bytes.

    Raises:
        InvalidRequestError: it is empty, or no bytes; a text is never taken for a path.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidRequestError(
            f"{owner}.from_bytes takes bytes, got {type(data).__name__}; {owner}.from_path reads a file"
        )
    found = bytes(data)
    if not found:
        raise InvalidRequestError(f"{owner}.from_bytes got no bytes at all; read the data to its end first")
    return found


def read(path: str | os.PathLike[str], owner: str) -> tuple[bytes, str]:
    """The bytes of the file at *path*, and its name.

    Raises:
        InvalidRequestError: there is no such file, it cannot be read, or is empty.
    """
    if not isinstance(path, str | os.PathLike):
        raise InvalidRequestError(f"{owner}.from_path takes a path, got {type(path).__name__}; use {owner}.from_bytes")
    from pathlib import Path  # late: most requests hold no file

    place = Path(path)
    where = f"{owner}.from_path({str(place)!r})"
    try:
        if place.is_dir():
            raise InvalidRequestError(f"{where} is a directory; give the path of a file in it")
        if not place.exists():
            looked = "" if place.is_absolute() else f" in {str(Path.cwd())!r}"
            raise InvalidRequestError(f"{where}: there is no such file{looked}; check the path")
        if not place.is_file():  # a pipe or a device may have no end
            raise InvalidRequestError(f"{where} is no regular file; read it yourself and use {owner}.from_bytes")
        data = place.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{where} cannot be read ({error.strerror}); check its permissions") from error
    if not data:
        raise InvalidRequestError(f"{where} is empty; check that it was written to its end")
    return data, place.name


def located(url: Any, owner: str) -> str:
    """The scheme of *url*: "http", "https" or "data".

    Raises:
        InvalidRequestError: it is another, or no URL.
    """
    scheme, colon, rest = url.partition(":") if isinstance(url, str) else ("", "", "")
    scheme = scheme.lower()
    if scheme == "data" or (scheme in ("http", "https") and rest.startswith("//") and len(rest) > 2):
        return scheme
    # An address may hold a signature, so the message shows no more than its scheme.
    got = f"one of scheme {scheme[:20]!r}" if colon else f"a {type(url).__name__} that is none"
    raise InvalidRequestError(
        f"{owner}.from_url takes an http, https or data URL, got {got}; {owner}.from_path reads a file"
    )


def data_url(url: str, owner: str) -> tuple[str, bytes]:
    """The media type ("" where it says none) and the bytes of a `data:` URL (RFC 2397).

    Raises:
        InvalidRequestError: it is broken, or holds nothing.
    """
    import binascii
    from base64 import b64decode
    from urllib.parse import unquote_to_bytes

    head, comma, body = url[len("data:") :].partition(",")
    kind, *further = [word.strip() for word in head.split(";")]
    try:
        data = unquote_to_bytes(body)
        if further and further[-1].lower() == "base64":
            data = b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError(f"{owner}.from_url got a data URL whose base64 is broken ({error})") from None
    if not comma or not data:
        raise InvalidRequestError(f"{owner}.from_url got a data URL without data; it reads data:<type>;base64,<data>")
    return kind.lower(), data


def _described(part: Any) -> Iterator[tuple[str, Any]]:
    """What a repr shows of a part, as names and values: bytes by their number, long texts by their beginning."""
    for name in part.__struct_fields__:
        value = getattr(part, name)
        if value is None or value == "" or (name == "media_type" and part.data is not None):
            continue
        if name == "data":
            yield "", _Word(f"{part.media_type}, {len(value)} bytes" if part.media_type else f"{len(value)} bytes")
        elif isinstance(value, str):
            yield name, value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
        elif isinstance(value, Mapping):  # a raw slot may hold anything, so its wires only
            yield name, _Word("{" + ", ".join([f"{key!r}: ..." for key in value]) + "}")
        else:
            yield name, value


def shown(part: Any) -> str:
    """The repr of a part, in one line however much data it holds: `Image(image/png, 1048576 bytes)`."""
    words = [f"{name}={value!r}" if name else repr(value) for name, value in _described(part)]
    return f"{type(part).__name__}({', '.join(words)})"


def rich(part: Any) -> Iterator[Any]:
    """The same for rich."""
    for name, value in _described(part):
        yield (name, value) if name else value


class _Word(str):
    """A text that shows itself without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
