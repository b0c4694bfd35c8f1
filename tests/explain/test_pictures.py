"""A stack as SVG and PNG."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from llamina import (
    Budget,
    Cache,
    CircuitBreaker,
    ConfigurationError,
    CostMeter,
    Dedup,
    Handler,
    Logger,
    Retry,
    Stack,
    Timeout,
    build_stack,
)
from llamina.pictures import png, svg
from llamina.pictures._layout import COLOURS, Label, Panel, lay_out, width_of, wrapped
from llamina.transports import EchoTransport, HTTPTransport

SVG = "{http://www.w3.org/2000/svg}"


def seven() -> Stack:
    """The seven layers in a good order, the last two in a stack of their own."""
    meter = CostMeter({}, [Budget("5.00", period="day", scope="user")])
    inner = build_stack([CircuitBreaker(), Timeout(30)], EchoTransport())
    return build_stack([Logger(), Cache(ttl=300), Dedup(), Retry(3), meter], inner)


def texts(document: str) -> list[str]:
    """What a reader can read in an SVG."""
    return [element.text or "" for element in ET.fromstring(document).iter(f"{SVG}text")]


def hostile(name: str) -> Any:
    """A layer with such a name, repr and explanation."""

    class Layer:
        def __call__(self, call_next: Handler) -> Handler:
            return call_next

        def explain(self, _request: object) -> str:
            return name

    layer = Layer()
    layer.__name__ = name  # type: ignore[attr-defined]
    return layer


def test_an_svg_names_every_layer_once_in_order() -> None:
    """As text, which can be searched and read out."""
    names = ["Logger", "Cache", "Dedup", "Retry", "CostMeter", "CircuitBreaker", "Timeout", "EchoTransport"]

    shown = texts(svg(seven()))

    assert [text for text in shown if text in names] == names
    assert {"your code", "Request", "Response", "Stack", "ttl=300"} <= set(shown)


def test_an_svg_has_a_title_and_a_description() -> None:
    """For who cannot see it."""
    root = ET.fromstring(svg(seven()))

    labels = {each.get("id"): each.text for each in root if each.tag in (f"{SVG}title", f"{SVG}desc")}
    assert root.get("role") == "img"
    assert str(root.get("aria-labelledby")).split() == list(labels)
    assert "down through Logger, then Cache" in (labels["stack-description"] or "")


def test_an_svg_has_colours_for_light_and_dark_and_needs_nothing_else() -> None:
    """No script, no font, no picture from elsewhere."""
    document = svg(seven())

    assert "prefers-color-scheme: dark" in document
    assert [shade for shades in COLOURS.values() for shade in shades if shade not in document] == []
    assert document.count("http") == 1  # the name space
    assert "<script" not in document


def test_text_can_be_read_on_its_ground() -> None:
    """The contrast of small text is at least 4.5 to 1, in light and in dark (WCAG 2.1, 1.4.3)."""
    pairs = [("ink", role) for role in COLOURS if role.startswith("fill-")]
    pairs += [("muted", role) for role in COLOURS if role.startswith("fill-")]
    pairs += [(role.replace("fill", "line"), role) for role in COLOURS if role.startswith("fill-")]
    pairs += [("ink", "paper"), ("muted", "paper"), ("ink", "caller"), ("on-wrong", "wrong")]
    pairs += [("on-transport", "transport"), ("on-transport-muted", "transport")]

    contrasts = {
        (text, ground, shade): contrast(COLOURS[text][shade], COLOURS[ground][shade])
        for text, ground in pairs
        for shade in (0, 1)
    }

    assert {pair: round(value, 2) for pair, value in contrasts.items() if value < 4.5} == {}


def contrast(one: str, other: str) -> float:
    """The ratio of two colours' luminances, as WCAG reckons it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    "name",
    ["</text><script>alert(1)</script>", "a & b", 'x" onload="y', "\x00\x08\ud800\uffff", "∑" * 300, " ", "汉字" * 99],
)
def test_a_hostile_name_stays_text(name: str) -> None:
    """The document is well formed, has no element more, and a PNG is drawn too."""
    usual = ET.fromstring(svg(build_stack([hostile("Usual")], EchoTransport())))
    stack = build_stack([hostile(name)], EchoTransport())

    root = ET.fromstring(svg(stack))

    assert {element.tag for element in root.iter()} == {element.tag for element in usual.iter()}
    assert {key for element in root.iter() for key in element.attrib} <= {
        *[key for element in usual.iter() for key in element.attrib],
        "stroke-dasharray",
    }


def test_a_wrong_order_is_marked_and_its_reason_told() -> None:
    """By a number at both layers and at the reason."""
    stack = build_stack([Retry(), Cache()], EchoTransport(), check="off")

    shown = texts(svg(stack))

    assert shown.count("1") == 3
    assert any(text.startswith("Cache inside Retry: ") for text in shown)


def test_no_secret_is_drawn() -> None:
    """Neither the key nor the query of an address."""
    stack = build_stack([], HTTPTransport("https://llm.example/v1?token=tok-99", "sk-live-0123456789abcdef"))

    document = svg(stack)

    assert "0123456789" not in document
    assert "tok-99" not in document


def test_boxes_hold_their_text_and_do_not_overlap() -> None:
    """As far as widths are reckoned."""
    picture = lay_out(seven())

    panels = [shape for shape in picture.shapes if isinstance(shape, Panel) and shape.fill and shape.width > 300]
    for above, below in zip(panels, panels[1:], strict=False):
        assert above.y + above.height < below.y
    for label in [shape for shape in picture.shapes if isinstance(shape, Label) and shape.anchor == "start"]:
        assert label.x + width_of(label.text, label.size) <= picture.width
        assert 0 < label.y < picture.height


@pytest.mark.parametrize(
    ("text", "most", "lines"),
    [
        ("one two three", 3, ["one two", "three"]),
        ("one two three four five", 2, ["one two", "three…"]),
        ("", 2, [""]),
        ("abcdefghijklmnop", 3, ["abcdefgh", "ijklmnop"]),
    ],
)
def test_text_is_wrapped_by_its_width(text: str, most: int, lines: list[str]) -> None:
    """Words first, long words by letters, and an ellipsis where more would follow."""
    assert wrapped(text, 10, 45, most) == lines


def test_a_png_is_a_picture_of_twice_the_size() -> None:
    """Two pixels to a point."""
    pytest.importorskip("PIL")
    stack = seven()

    data = png(stack)

    width, height = struct.unpack(">II", data[16:24])
    picture = lay_out(stack)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert (width, height) == (round(2 * picture.width), round(2 * picture.height))
    assert 20_000 < len(data) < 1_000_000


def test_a_png_without_pillow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what can be had without."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'llamina\[draw\]', or draw an SVG"):
        png(seven())


def test_the_picture_in_the_docs_is_of_the_stack_on_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is drawn now; `Path("docs/images/stack.svg").write_text(svg(stack))` draws it anew."""
    docs = Path(__file__).parents[2] / "docs"
    first = (docs / "how-to" / "see-a-stack.md").read_text(encoding="utf-8").split("```python\n")[1].partition("```")[0]
    namespace: dict[str, Any] = {}
    exec(first, namespace)

    drawn = svg(namespace["stack"])

    assert (docs / "images" / "stack.svg").read_text(encoding="utf-8") == drawn
