"""Text laid out in terminal cells, and numbers, counts and times in a few characters.

What is laid out has been cleaned before: see `agentrm_models.terminal_text`.
"""

from __future__ import annotations

from math import isfinite

from rich.cells import cell_len, chop_cells, set_cell_size


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
