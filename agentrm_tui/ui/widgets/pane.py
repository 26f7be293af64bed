"""What all panes share: a titled border, scrolling keys, and lines of which only the visible ones are drawn."""

from __future__ import annotations

from itertools import zip_longest
from typing import ClassVar, TypeAlias

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

Line: TypeAlias = list[tuple[str, str]]
"""Pieces of text, each with a style in theme variables. Text is never parsed."""
CURSOR = "$block-cursor-foreground on $block-cursor-background"


class Pane(ScrollView, inherit_bindings=False):
    """A focusable, scrolling pane.

    Subclasses say what to show in `draw(width, height)`; it is called when the view or the size changed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Scroll up", show=False),
        Binding("down", "scroll_down", "Scroll down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
    ]
    TITLE: ClassVar[str] = ""
    can_focus = True
    virtual_size: Reactive[Size] = Reactive(Size(0, 0))
    """Lines come and go in place: unlike in other widgets, nothing around the pane is laid out anew."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[Line] = []
        self._strips: dict[int, Strip] = {}

    def on_mount(self) -> None:
        """Name the pane."""
        self.set_title(self.TITLE)

    def on_resize(self, event: Resize) -> None:
        """Lines are laid out for the width: draw anew."""
        self.redraw()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """A cursor is drawn brighter in the focused pane."""
        super().watch_has_focus(_has_focus)
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Lay the view out for this many cells and lines."""
        return []

    def redraw(self) -> None:
        """Lay out anew and repaint the lines that changed."""
        region = self.scrollable_content_region
        if region.width <= 0:
            return
        self.lines = self._changed(self.draw(region.width, region.height))
        self.virtual_size = Size(region.width, len(self.lines))

    def watch_virtual_size(self, size: Size) -> None:
        """The scrollbar shows how much there is; what is scrolled beyond the end comes back."""
        self.vertical_scrollbar.window_virtual_size = size.height
        self.vertical_scrollbar.window_size = self.container_size.height
        self.scroll_y = self.validate_scroll_y(self.scroll_y)

    def _changed(self, lines: list[Line]) -> list[Line]:
        """Repaint the visible lines that differ from those shown before; returns the new ones."""
        before = self.lines
        top = self.scroll_offset.y
        bottom = top + self.container_size.height
        first, last = bottom, -1
        for number, (old, new) in enumerate(zip_longest(before, lines)):
            if old != new:
                self._strips.pop(number, None)
                if top <= number < bottom:
                    first, last = min(first, number), number
        if last >= first:
            self.refresh_lines(first, last - first + 1)
        return lines

    def render_line(self, y: int) -> Strip:
        """Draw one visible line."""
        width = self.scrollable_content_region.width
        number = y + self.scroll_offset.y
        strip = self._strips.get(number)
        if strip is None or self.text_selection is not None:
            base = self.visual_style.rich_style
            inside = number < len(self.lines)
            strip = self._strip(number).adjust_cell_length(width, base) if inside else Strip.blank(width, base)
            if self.text_selection is None:
                self._strips[number] = strip
        return strip

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The marked text."""
        return selection.extract("\n".join(str(Content.assemble(*line)) for line in self.lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Repaint what is marked."""
        self._strips.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        """The theme or the focus changed: colours are looked up anew."""
        super().notify_style_update()
        self._strips.clear()

    def set_title(self, title: str, note: str = "") -> None:
        """Put a title on the border and a note beside it; neither is parsed as markup."""
        text = Content(f"{title} · {note}" if note else title).markup
        if self.border_title != text:
            self.border_title = text

    def set_note(self, note: str | Content) -> None:
        """Put a note on the lower border; a text is not parsed as markup."""
        text = (Content(note) if isinstance(note, str) else note).markup
        if self.border_subtitle != text:
            self.border_subtitle = text

    def _strip(self, number: int) -> Strip:
        base = self.visual_style
        content = Content.assemble(*self.lines[number])
        selection = self.text_selection
        span = selection.get_span(number) if selection is not None else None
        if span is not None:
            start, end = span
            marked = Style.from_styles(self.screen.get_component_styles("screen--selection"))
            content = content.stylize(marked, start, len(content) if end == -1 else end)
        x = 0
        segments = []
        for text, style in content.render(base, end=""):
            segments.append(Segment(text, (base + style).rich_style_with_offset(x, number)))
            x += len(text)
        return Strip(segments)


def styled_lines(lines: list[Line]) -> Content:
    """Join lines for a widget that takes one content; text is taken literally."""
    parts: Line = []
    for number, line in enumerate(lines):
        if number:
            parts.append(("\n", ""))
        parts.extend(line)
    return Content.assemble(*parts)


def quiet(text: str) -> list[Line]:
    """What an empty pane says, line by line."""
    return [[(line, "$foreground 62%")] for line in text.split("\n")]
