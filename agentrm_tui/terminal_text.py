"""Text from models and environments made safe to draw: no escapes, no control characters, measured in cells."""

from __future__ import annotations

import re
import unicodedata
from math import isfinite

from rich.cells import cell_len, chop_cells, set_cell_size

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands: titles, links, clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # device control and other strings
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"  # control sequences and two-character escapes
)
_MANY_MARKS = re.compile(r"([\u0300-\u036f]{2})[\u0300-\u036f]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_UNSAFE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Me", "Zl", "Zp")
SHOWN_CHARACTERS = 4_000
"""Longer texts are cut for display; copying gives all of them."""
SHOWN_LINES = 60
"""Lines of one text that are shown at most."""


def clean(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Strip what could move the cursor, hide or reorder text; keep line breaks; cut to `limit` characters."""
    cut = len(text) - limit
    text = text[:limit]
    if not (text.isascii() and text.isprintable()):
        text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).expandtabs(4)
        text = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in _UNSAFE_CATEGORIES)
        text = _BLANK_LINES.sub("\n\n", _MANY_MARKS.sub(r"\1", text))
        lines = text.split("\n")
        if len(lines) > SHOWN_LINES:
            text = "\n".join([*lines[: SHOWN_LINES - 1], f"… ({len(lines) - SHOWN_LINES + 1:,} more lines)"])
    return f"{text} … ({cut:,} more characters)" if cut > 0 else text


def one_line(text: str, limit: int = 400) -> str:
    """Clean a text and fold it into a single line."""
    return " ".join(clean(text, limit).split())


def clip(text: str, width: int) -> str:
    """Cut a line to `width` cells; an ellipsis shows that something is missing."""
    if width <= 0:
        return ""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Cut or pad a line to exactly `width` cells."""
    text = clip(text, width)
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def wrap(text: str, width: int) -> list[str]:
    """Break text into lines of at most `width` cells, at spaces where possible."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if cell_len(joined) <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            *whole, line = chop_cells(word, max(2, width)) or [""]
            lines.extend(whole)
        lines.append(line)
    return lines


def number(value: float | None, digits: int = 2) -> str:
    """Write a number shortly; a dash where there is none."""
    if value is None or not isfinite(value):
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.3g}"


def signed(value: float | None, digits: int = 2) -> str:
    """Write a difference with its sign; a dash where there is none."""
    return "–" if value is None or not isfinite(value) else f"{value:+.{digits}f}"


def count(value: float) -> str:
    """Write a count in at most five characters: 999, 1.2k, 34k, 5.6M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            scaled = value / limit
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """Write a time span: 0.4 s, 12 s, 3:05, 1:02:03."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def bar(share: float, width: int) -> str:
    """Draw a share in [0, 1] as a bar of `width` cells, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (" ▏▎▍▌▋▊▉"[part] if part else "")).ljust(width)
