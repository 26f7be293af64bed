"""The screen's way out for text: whatever a widget draws passes here before it becomes bytes for the terminal."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from agentrm_models.terminal_text import strip_controls
from agentrm_tui.terminal_text import fit


class SafeText(LineFilter):
    """Leaves out of every drawn line what a terminal would obey or could not show, and keeps the line's width.

    Panes clean their texts before they are laid out; this is for fields, lists, titles and what a widget forgets.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Replace the pieces of a line that are unsafe."""
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [segment if segment.text.isprintable() else _safe(segment) for segment in segments]


def _safe(segment: Segment) -> Segment:
    text = strip_controls(segment.text).replace("\n", " ")
    return Segment(fit(text, cell_len(segment.text)), segment.style, segment.control)
