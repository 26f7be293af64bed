"""The one way of text to a terminal: nothing may move the cursor, set a title or the clipboard, hide or reorder text.

Text that is drawn loses what is unsafe (`clean`, `one_line`); a line that names a file, a key or a mistake spells it
out as Python does (`printable_line`, `on_one_line`), so that nobody looks for the wrong name; JSON keeps it as JSON
escapes (`json_line`), so that data stays the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands: titles, links, clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # device control and other strings
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"  # control sequences and two-character escapes
)
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Me", "Zl", "Zp"})
"""Controls, direction and zero-width marks, lone surrogates, what has no glyph, enclosing marks, odd line breaks."""
_MANY_MARKS = re.compile(r"([\u0300-\u036f]{2})[\u0300-\u036f]+")
_BLANK_LINES = re.compile(r"\n{3,}")
SHOWN_CHARACTERS = 4_000
"""Longer texts are cut for display; copying gives all of them."""
SHOWN_LINES = 60
"""Lines of one text that are shown at most."""


def strip_controls(text: str) -> str:
    """Leave out escape sequences and unsafe characters; line breaks stay, tabs become spaces."""
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).expandtabs(4)
    return _replace_unsafe(text, lambda char: "\n" if char == "\n" else "")


def clean(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Strip a text for drawing, with its line breaks; cut to `limit` characters and to `SHOWN_LINES` lines."""
    cut = len(text) - limit
    text = text[:limit]
    if not (text.isascii() and text.isprintable()):
        text = _BLANK_LINES.sub("\n\n", _MANY_MARKS.sub(r"\1", strip_controls(text)))
        lines = text.split("\n")
        if len(lines) > SHOWN_LINES:
            text = "\n".join([*lines[: SHOWN_LINES - 1], f"… ({len(lines) - SHOWN_LINES + 1:,} more lines)"])
    return f"{text} … ({cut:,} more characters)" if cut > 0 else text


def one_line(text: str, limit: int = 400) -> str:
    """Clean a text and fold it into a single line."""
    return " ".join(clean(text, limit).split())


def printable_line(text: str) -> str:
    """One line that keeps its spaces: white space becomes a space each, what is unsafe is spelled out as in Python."""
    if text.isprintable():
        return text
    return _replace_unsafe(text, lambda char: " " if char.isspace() else _python_escape(char))


def on_one_line(text: str) -> str:
    """A message as a printable line, with its line breaks and indents folded."""
    return printable_line(" ".join(text.split()))


def json_line(encoded: str) -> str:
    """The same JSON with unsafe characters as JSON escapes: encoders write C1 controls and direction marks as such."""
    return encoded if encoded.isprintable() else _replace_unsafe(encoded, _json_escape)


def _replace_unsafe(text: str, replacement: Callable[[str], str]) -> str:
    table = {ord(char): replacement(char) for char in set(text) if unicodedata.category(char) in _UNSAFE_CATEGORIES}
    return text.translate(table) if table else text


def _python_escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _json_escape(char: str) -> str:
    """UTF-16 escapes, two of them beyond the basic plane, as JSON wants it."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
