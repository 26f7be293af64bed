"""Pictures as text, so that events can carry them: three equal grids of letters (glyph, role, tint) and a caption."""

from __future__ import annotations

from typing import Any, get_args

from agentrm_tui.environments.base import Cell, Picture, Tint

_ROLES: dict[str, Any] = {
    "e": "empty",
    "w": "wall",
    "f": "floor",
    "a": "agent",
    "g": "goal",
    "o": "object",
    "d": "door",
    "h": "hidden",
    "l": "label",
}
_ROLE_LETTER = {role: letter for letter, role in _ROLES.items()}
_TINTS: dict[str, Any] = {
    (tint[:1] or ".") if tint != "grey" else "y": tint for tint in get_args(Tint) if tint != "yellow"
} | {"l": "yellow"}
_TINT_LETTER = {tint: letter for letter, tint in _TINTS.items()}


def encode_picture(picture: Picture) -> str:
    """Write a picture as text; `decode_picture` is the inverse."""
    lines = [picture.caption.replace("\n", " ")]
    for row in picture.rows:
        lines.append("".join(cell.glyph for cell in row))
        lines.append("".join(_ROLE_LETTER[cell.role] for cell in row))
        lines.append("".join(_TINT_LETTER[cell.tint] for cell in row))
    return "\n".join(lines)


def decode_picture(text: str) -> Picture:
    """Read a picture back; anything that is not one gives an empty picture."""
    caption, *lines = text.split("\n")
    rows = []
    for glyphs, roles, tints in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        row = tuple(
            Cell(g, _ROLES.get(r, "empty"), _TINTS.get(t, "")) for g, r, t in zip(glyphs, roles, tints, strict=False)
        )
        rows.append(row)
    return Picture(tuple(rows), caption)
