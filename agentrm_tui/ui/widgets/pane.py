"""What all panes share: a titled border, scrolling keys, and a body that is replaced only when it changed."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static


class Pane(VerticalScroll, inherit_bindings=False):
    """A focusable, scrolling pane with one text in it.

    Subclasses say what to draw in `draw(width, height)`; it is called when the view or the size changed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Scroll up", show=False),
        Binding("down", "scroll_down", "Scroll down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
    ]
    TITLE: ClassVar[str] = ""

    def compose(self) -> ComposeResult:
        """The body: plain content, never parsed as markup."""
        yield Static("", markup=False, classes="body")

    def on_mount(self) -> None:
        """Name the pane."""
        self.border_title = Content(self.TITLE).markup
        self.can_focus = True

    def on_resize(self, event: Resize) -> None:
        """Lines are laid out for the width: draw anew."""
        self.redraw()

    def draw(self, width: int, height: int) -> Content:
        """Lay the view out for this many cells and lines."""
        return Content("")

    def redraw(self) -> None:
        """Draw and show the body."""
        width, height = self.scrollable_content_region.size
        if width > 0 and self.is_mounted:
            self.query_one(".body", Static).update(self.draw(width, height))

    def set_title(self, title: str, note: str = "") -> None:
        """Put a title on the border and a note beside it; neither is parsed as markup."""
        text = Content(f"{title} · {note}" if note else title).markup
        if self.border_title != text:
            self.border_title = text

    def set_note(self, note: str) -> None:
        """Put a note on the lower border; it is not parsed as markup."""
        text = Content(note).markup
        if self.border_subtitle != text:
            self.border_subtitle = text


def styled_lines(lines: list[list[tuple[str, str]]]) -> Content:
    """Join lines of (text, style) pieces; text is taken literally."""
    parts: list[tuple[str, str]] = []
    for number, line in enumerate(lines):
        if number:
            parts.append(("\n", ""))
        parts.extend(line)
    return Content.assemble(*parts)
