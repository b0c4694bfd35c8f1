"""The picture of a stack as SVG, with a style for light and one for dark.

    Path("stack.svg").write_text(svg(stack))

The one surprise: the paper has a colour too, so that the text can be read wherever the file is put.
"""

from __future__ import annotations

from html import escape

from llamina.stack import Stack

from ._layout import COLOURS, Arrow, Dot, Label, Panel, lay_out

__all__ = ["svg"]

_FACES = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', Roboto, 'Segoe UI', sans-serif"


def svg(stack: Stack) -> str:
    """*stack* as an SVG document."""
    picture = lay_out(stack)
    width, height = _number(picture.width), _number(picture.height)
    drawn = "\n".join([_drawn(shape) for shape in picture.shapes])
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
role="img" aria-labelledby="stack-title stack-description">
<title id="stack-title">{escape(picture.title)}</title>
<desc id="stack-description">{escape(picture.description)}</desc>
<style>
text {{ font-family: {_FACES}; }}
.arrow {{ fill: none; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }}
{_styles(0)}
@media (prefers-color-scheme: dark) {{
{_styles(1)}
}}
</style>
<rect class="f-paper" width="{width}" height="{height}" rx="14"/>
{drawn}
</svg>
"""


def _styles(shade: int) -> str:
    """A class for each colour as a fill and one as a line."""
    return "\n".join(
        [
            f".f-{role} {{ fill: {shades[shade]}; }} .s-{role} {{ stroke: {shades[shade]}; }}"
            for role, shades in COLOURS.items()
        ]
    )


def _drawn(shape: Panel | Arrow | Dot | Label) -> str:
    if isinstance(shape, Label):
        bold = ' font-weight="600"' if shape.bold else ""
        anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
        place = f'x="{_number(shape.x)}" y="{_number(shape.y)}" font-size="{_number(shape.size)}"'
        return f'<text class="f-{shape.colour}" {place}{bold}{anchor}>{escape(shape.text)}</text>'
    if isinstance(shape, Dot):
        place = f'cx="{_number(shape.x)}" cy="{_number(shape.y)}" r="{_number(shape.radius)}"'
        return f'<circle class="f-{shape.colour}" {place}/>'
    if isinstance(shape, Arrow):
        x, end, back = shape.x, _number(shape.end), shape.end - (5 if shape.end > shape.start else -5)
        shaft = f"M{_number(x)} {_number(shape.start)}V{end}"
        tip = f"M{_number(x - 4)} {_number(back)}L{_number(x)} {end}L{_number(x + 4)} {_number(back)}"
        return f'<path class="arrow s-{shape.colour}" d="{shaft}{tip}"/>'
    classes = [f"{use}-{role}" for use, role in (("f", shape.fill), ("s", shape.line)) if role is not None]
    facts = {"x": shape.x, "y": shape.y, "width": shape.width, "height": shape.height, "rx": shape.radius}
    if shape.line is not None:
        facts["stroke-width"] = shape.thickness
    written = " ".join([f'{name}="{_number(value)}"' for name, value in facts.items()])
    hollow = ' fill="none"' if shape.fill is None else ""
    dashes = ' stroke-dasharray="5 4"' if shape.dashed else ""
    return f'<rect class="{" ".join(classes)}" {written}{hollow}{dashes}/>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
