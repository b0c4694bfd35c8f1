"""Images, sounds and files: from a path, bytes or a URL, and how they show themselves."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import Audio, File, Image, InvalidRequestError, Message, Reasoning, Request, Text, ToolCall, UnknownPart
from llamina.messages import cache_mark

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
PDF = b"%PDF-1.7\n"
SECRET = b"\x89PNG\r\n\x1a\n of nobody's business"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file of each kind."""
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "hello.wav").write_bytes(WAV)
    (tmp_path / "report.pdf").write_bytes(PDF)
    (tmp_path / "notes.md").write_text("# Notes")
    (tmp_path / "empty.png").write_bytes(b"")
    return tmp_path


# what the bytes are


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF87a..", "image/gif"),
        (b"GIF89a..", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"BM\x36\x00\x0c\x00\x00\x00\x00\x00\x36", "image/bmp"),
        (b"II*\x00\x08\x00", "image/tiff"),
        (b"MM\x00*\x00\x08", "image/tiff"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1", "image/heif"),
        (b"\x00\x00\x00\x18ftypavif", "image/avif"),
    ],
)
def test_the_first_bytes_tell_the_type_of_an_image(data: bytes, media_type: str) -> None:
    """Nobody has to say it."""
    assert Image.from_bytes(data) == Image(data, media_type)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (WAV, "audio/wav"),
        (b"ID3\x04\x00", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"fLaC\x00", "audio/flac"),
        (b"OggS\x00", "audio/ogg"),
        (b"\x00\x00\x00\x20ftypM4A ", "audio/mp4"),
        (b"\x00\x00\x00\x20ftypisom", "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x01", "audio/webm"),
    ],
)
def test_the_first_bytes_tell_the_type_of_a_sound(data: bytes, media_type: str) -> None:
    """Containers that may hold pictures too are sounds where an Audio is made of them."""
    assert Audio.from_bytes(data) == Audio(data, media_type)


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (PDF, None, "application/pdf"),
        (PDF, "report.bin", "application/pdf"),
        (b"a,b\n1,2", "table.CSV", "text/csv"),
        (b"{}", "data.json", "application/json"),
        (b"# Title", "notes.md", "text/markdown"),
        (b"PK\x03\x04", "letter.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("grün".encode(), None, "text/plain"),
        (b"all: build", "Makefile", "text/plain"),
        (PNG, None, "image/png"),
        (b"no pdf at all", "fake.pdf", "text/plain"),
    ],
)
def test_the_bytes_or_the_name_tell_the_type_of_a_file(data: bytes, name: str | None, media_type: str) -> None:
    """A PDF is one whatever it is called; what has no ending that is known may be text."""
    assert File.from_bytes(data, name) == File(data, media_type, name)


def test_a_given_type_goes_before_the_bytes() -> None:
    """Who says it knows it."""
    assert Image.from_bytes(b"<svg/>", "image/svg+xml").media_type == "image/svg+xml"
    assert Audio.from_bytes(b"....", "audio/pcm").media_type == "audio/pcm"
    assert File.from_bytes(b"\x00\xff", media_type="application/x-odd").media_type == "application/x-odd"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Image.from_bytes(b"hello"), "media_type='image/"),
        (lambda: Image.from_bytes(PDF), "these bytes are application/pdf; send them as a File"),
        (lambda: Image.from_bytes(b"BMW is a car"), "media_type='image/"),
        (lambda: Image.from_bytes(PNG, "text/html"), "must begin with 'image/', got 'text/html'"),
        (lambda: Audio.from_bytes(PNG), "are image/png"),
        (lambda: File.from_bytes(b"\x00\xff"), "media_type='...'"),
        (lambda: File.from_bytes(b"x", media_type="pdf"), "must be like 'application/pdf'"),
        (lambda: Image.from_bytes(b""), "no bytes at all"),
    ],
)
def test_bytes_of_another_kind_are_refused(make: Any, said: str) -> None:
    """The error names the remedy."""
    with pytest.raises(InvalidRequestError) as caught:
        make()

    assert said in str(caught.value)


def test_any_buffer_is_bytes() -> None:
    """What a socket or an image library gives is copied once."""
    assert Image.from_bytes(bytearray(PNG)) == Image.from_bytes(memoryview(PNG)) == Image(PNG, "image/png")


# paths


def test_parts_are_made_of_files(folder: Path) -> None:
    """By a text or a Path; a File keeps the name, and no folder."""
    assert Image.from_path(str(folder / "cat.png"), detail="low") == Image(PNG, "image/png", detail="low")
    assert Audio.from_path(folder / "hello.wav") == Audio(WAV, "audio/wav")
    assert File.from_path(folder / "report.pdf") == File(PDF, "application/pdf", "report.pdf")
    assert File.from_path(folder / "notes.md") == File(b"# Notes", "text/markdown", "notes.md")


def test_a_message_holds_an_image_of_a_file(folder: Path) -> None:
    """As people write it."""
    request = Request.chat("m", Message.user("What is this?", Image.from_path(folder / "cat.png")))

    assert request.messages[0].parts == (Text("What is this?"), Image(PNG, "image/png"))
    assert len(request.identity) == 64


def test_the_bytes_of_a_file_go_before_its_name(folder: Path) -> None:
    """A PNG called .jpg is a PNG; a text called .png is no image; an SVG only its name can tell."""
    (folder / "cat.jpg").write_bytes(PNG)
    (folder / "text.png").write_text("hello")
    (folder / "draw.svg").write_text("<svg/>")

    assert Image.from_path(folder / "cat.jpg").media_type == "image/png"
    assert Image.from_path(folder / "draw.svg").media_type == "image/svg+xml"
    with pytest.raises(InvalidRequestError, match=r"the bytes of 'text\.png'"):
        Image.from_path(folder / "text.png")


@pytest.mark.parametrize("kind", [Image, Audio, File])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.png", "there is no such file"),
        ("", "is a directory"),
        ("empty.png", "is empty"),
        ("a\0b", "no such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder: Path, kind: Any, name: str, said: str) -> None:
    """With the path and what to do."""
    with pytest.raises(InvalidRequestError, match=said) as caught:
        kind.from_path(folder / name)

    assert f"{kind.__name__}.from_path({str(folder / name)!r})" in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason is in the message, its exception is the cause."""

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)

    with pytest.raises(InvalidRequestError, match=r"cannot be read \(Permission denied\)") as caught:
        Image.from_path(folder / "cat.png")

    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_regular_file_is_refused(folder: Path) -> None:
    """Reading a pipe could wait for ever."""
    os.mkfifo(folder / "pipe")

    with pytest.raises(InvalidRequestError, match="no regular file"):
        Image.from_path(folder / "pipe")


def test_bytes_are_no_path() -> None:
    """The error names the other door, and shows nothing of them."""
    with pytest.raises(InvalidRequestError, match=r"Image\.from_bytes") as caught:
        Image.from_path(SECRET)  # type: ignore[arg-type]

    assert "business" not in str(caught.value)


# addresses


def test_an_address_is_for_the_provider_to_fetch() -> None:
    """It goes along as it is."""
    assert Image.from_url("https://x.test/a.png", "high") == Image(url="https://x.test/a.png", detail="high")
    assert File.from_url("HTTP://x.test/a", "a.pdf") == File(name="a.pdf", url="HTTP://x.test/a")


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "data:;base64," + base64.b64encode(PNG).decode(),
        "DATA:image/png;charset=utf-8;BASE64," + base64.b64encode(PNG).decode().replace("=", "%3D"),
        "data:image/png," + "".join([f"%{byte:02x}" for byte in PNG]),
    ],
)
def test_a_data_url_becomes_data(url: str) -> None:
    """So every wire can say it, and equal images are equal."""
    assert Image.from_url(url) == Image(PNG, "image/png")


def test_a_file_may_be_in_a_data_url() -> None:
    """With the type that it says."""
    assert File.from_url("data:text/plain,a%20b", "n.txt") == File(b"a b", "text/plain", "n.txt")


@given(st.binary(min_size=1))
def test_a_data_url_loses_no_byte(data: bytes) -> None:
    """Whatever the bytes are."""
    url = f"data:application/x-odd;base64,{base64.b64encode(data).decode()}"

    assert File.from_url(url).data == data


@pytest.mark.parametrize("kind", [Image, File])
@pytest.mark.parametrize(
    "form", ["file://{}", "file:{}", "{}", "ftp://x.test{}", "javascript:{}", "http:{}", "https://"]
)
def test_no_url_reads_a_local_file(folder: Path, kind: Any, form: str) -> None:
    """An app may pass what a user typed: only `from_path` opens files."""
    path = folder / "cat.png"

    with pytest.raises(InvalidRequestError, match="http, https or data URL"):
        kind.from_url(form.format(path))


@pytest.mark.parametrize("kind", [Image, Audio, File])
def test_no_text_is_taken_for_bytes_or_a_path(folder: Path, kind: Any) -> None:
    """A path given as bytes is an error, and nothing is read."""
    with pytest.raises(InvalidRequestError, match=r"takes bytes, got str; .*from_path reads a file"):
        kind.from_bytes(str(folder / "cat.png"))


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,iVBORw0K!Ggo=",
        "data:image/png;base64,AAA",
        "data:image/png",
        "data:,",
        "data:text/html,x",
    ],
)
def test_a_broken_data_url_is_refused(url: str) -> None:
    """Before a provider sees it."""
    with pytest.raises(InvalidRequestError):
        Image.from_url(url)


# how they show themselves


def test_data_is_shown_by_its_size() -> None:
    """A megabyte makes no megabyte of log, in a message neither."""
    image = Image(b"x" * 2**20, "image/png")

    assert repr(image) == "Image(image/png, 1048576 bytes)"
    assert len(repr(Message.user("What is this?", image))) < 200


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (Image(url="https://x.test/a.png", detail="low"), "Image(url='https://x.test/a.png', detail='low')"),
        (Audio(b"abc", "audio/wav", transcript="hi"), "Audio(audio/wav, 3 bytes, transcript='hi')"),
        (File(b"abc", name="a"), "File(3 bytes, name='a')"),
        (File(file_id="file-1"), "File(file_id='file-1')"),
        (Image(b"a", raw={"chat": {"x": "y" * 999}}), "Image(1 bytes, raw={'chat': ...})"),
        (Image(raw=3, media_type="image/png"), "Image(media_type='image/png', raw=3)"),
        (Image(), "Image()"),
    ],
)
def test_a_part_shows_what_it_has(part: Any, shown: str) -> None:
    """In one short line."""
    assert repr(part) == shown


def test_a_long_address_is_cut() -> None:
    """A data URL that was given as an address is as long as its data."""
    assert len(repr(Image(url="data:image/png;base64," + "A" * 10_000))) < 120


def test_rich_shows_them_as_short() -> None:
    """Its pretty printer asks a method of its own."""
    assert len(str(list(Image(b"x" * 10_000, "image/png", detail="low").__rich_repr__()))) < 100


def test_being_shown_short_changes_no_value() -> None:
    """Equality, hash and encoding are those of all fields."""
    image = Image(PNG, "image/png")

    assert image == Image.from_bytes(PNG)
    assert image != Image(PNG[:-1] + b"x", "image/png")
    assert hash(image) == hash(Image.from_bytes(PNG))
    assert msgspec.json.decode(msgspec.json.encode(image), type=Image) == image


# marks for a prompt cache


@pytest.mark.parametrize("part", [Text("a"), Image(PNG, "image/png"), File(PDF), ToolCall("1", "f"), Reasoning("r")])
def test_a_mark_is_a_copy_with_a_further_field(part: Any) -> None:
    """For Anthropic only; the part itself stays as it was."""
    marked = cache_mark(part)

    assert marked.raw == {"anthropic": {"cache_control": {"type": "ephemeral"}}}
    assert msgspec.structs.replace(marked, raw=None) == part
    assert part.raw is None


def test_a_mark_keeps_what_the_part_had() -> None:
    """The fields of other wires, and those of this one."""
    part = Text("a", raw={"chat": {"x": 1}, "anthropic": {"citations": []}})

    assert cache_mark(part, ttl="1h").raw == {
        "chat": {"x": 1},
        "anthropic": {"citations": [], "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    }


@pytest.mark.parametrize("ttl", ["", "1d", 3600, 5.0])
def test_a_mark_has_one_of_two_lives(ttl: Any) -> None:
    """Others the provider refuses."""
    with pytest.raises(InvalidRequestError, match="'5m', '1h' or None"):
        cache_mark(Text("a"), ttl=ttl)


@pytest.mark.parametrize("part", ["a", UnknownPart({"type": "x"}), Text("a", raw=[1]), Text("a", raw={"anthropic": 3})])
def test_what_cannot_be_marked_is_refused(part: Any) -> None:
    """A bare text, a part written by hand, a slot that holds something else."""
    with pytest.raises(InvalidRequestError):
        cache_mark(part)
