"""The picture of a stack as PNG, in light colours, by Pillow (the extra `draw`).

    Path("stack.png").write_bytes(png(stack))

The one surprise: it is set in the face that Pillow brings, so that the same stack gives the same picture on every
machine. What that face has no sign for is shown as a box.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from llamina.errors import ConfigurationError
from llamina.stack import Stack

from ._layout import COLOURS, Arrow, Dot, Label, Panel, lay_out

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["png"]

_FINE = 2
"""Shapes are drawn so many times larger and made smaller: Pillow smooths text, not shapes."""
_TALLEST = 8000
"""Above so many pixels of height each point of the picture is one pixel, not two."""

_APART = 0.018
"""Of the size of a bold line."""


def png(stack: Stack) -> bytes:
    """*stack* as a PNG file, two pixels to a point.

    Raises:
        ConfigurationError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise ConfigurationError(
            "a PNG needs the package pillow, which is not installed; pip install 'llamina[draw]', or draw an SVG"
        ) from error
    picture = lay_out(stack)
    scale = 2 if 2 * picture.height <= _TALLEST else 1
    size = round(picture.width * scale), round(picture.height * scale)
    large = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _colour("paper"))
    pen = ImageDraw.Draw(large)
    for shape in picture.shapes:
        if not isinstance(shape, Label):
            _draw(pen, shape, scale * _FINE)
    image: Image.Image = large.resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    faces: dict[float, Any] = {}
    for shape in picture.shapes:
        if isinstance(shape, Label):
            if shape.size not in faces:
                faces[shape.size] = ImageFont.load_default(shape.size * scale)
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            # The face has one weight: a bold line is set twice, a little apart.
            for shift in (-_APART, _APART) if shape.bold else (0.0,):
                place = ((shape.x + shift * shape.size) * scale, shape.y * scale)
                pen.text(place, shape.text, fill=_colour(shape.colour), font=faces[shape.size], anchor=anchor)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _colour(role: str) -> str:
    return COLOURS[role][0]


def _draw(pen: ImageDraw.ImageDraw, shape: Panel | Arrow | Dot, scale: int) -> None:
    if isinstance(shape, Dot):
        pen.circle((shape.x * scale, shape.y * scale), shape.radius * scale, fill=_colour(shape.colour))
        return
    if isinstance(shape, Arrow):
        x, start, end = shape.x * scale, shape.start * scale, shape.end * scale
        wing, back = 4 * scale, (5 if end > start else -5) * scale
        thick, colour = round(1.6 * scale), _colour(shape.colour)
        pen.line([(x, start), (x, end)], fill=colour, width=thick)
        tip = [(x - wing, end - back), (x, end), (x + wing, end - back)]
        pen.line(tip, fill=colour, width=thick, joint="curve")
        return
    corners = (
        shape.x * scale,
        shape.y * scale,
        (shape.x + shape.width) * scale,
        (shape.y + shape.height) * scale,
    )
    fill = None if shape.fill is None else _colour(shape.fill)
    line = None if shape.line is None else _colour(shape.line)
    if shape.dashed and line is not None:
        _dashed(pen, corners, line, scale)
    else:
        pen.rounded_rectangle(
            corners, shape.radius * scale, fill=fill, outline=line, width=round(shape.thickness * scale)
        )


def _dashed(pen: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], line: str, scale: int) -> None:
    """A frame of dashes; at this size nobody misses its round corners."""
    left, top, right, bottom = corners
    dash, step = 5 * scale, 9 * scale
    for start in range(round(left), round(right), step):
        end = min(start + dash, right)
        for y in (top, bottom):
            pen.line([(start, y), (end, y)], fill=line, width=scale)
    for start in range(round(top), round(bottom), step):
        end = min(start + dash, bottom)
        for x in (left, right):
            pen.line([(x, start), (x, end)], fill=line, width=scale)
