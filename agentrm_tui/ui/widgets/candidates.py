"""The candidates table: what the policy proposed, what the reward model thinks of it, and what was cut."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region
from textual.message import Message

from agentrm_models.terminal_text import clean, one_line
from agentrm_tui.search.tree import NodeId
from agentrm_tui.terminal_text import bar, fit, number, signed, wrap
from agentrm_tui.ui.views import GLYPHS, HUMAN, CandidateView, EpisodeView, ValueRange, cut_words
from agentrm_tui.ui.widgets.pane import CURSOR, Line, Pane, quiet

MARK_STYLES = {
    "chosen": "bold $accent",
    "kept": "$success",
    "judged": "$foreground",
    "waiting": "$foreground 62%",
    "cut": "$foreground 40%",
}
_BAR = 10


class Column(NamedTuple):
    """A column after the action: heading, width in cells, and how gladly it is left out (lowest first)."""

    name: str
    heading: str
    width: int
    rank: int


_COLUMNS = (
    Column("reward", "reward", _BAR + 6, 9),
    Column("margin", "margin", 6, 7),
    Column("logp", "logp", 6, 8),
    Column("n", "n", 2, 6),
    Column("mean", "mean", 5, 4),
    Column("visits", "visits", 6, 3),
    Column("tokens", "tok", 4, 2),
    Column("beam", "beam", 4, 5),
)
_DETAIL_ROOM = 5
"""Free lines from which on the reply at the cursor is shown below the table."""
_THOUGHT_ROOM = 24
"""Cells from which on the thought is shown too."""


class Candidates(Pane):
    """A table with a cursor. Columns that do not fit, or that this search never fills, are left out."""

    TITLE: ClassVar[str] = "Candidates"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", "Up", show=False),
        Binding("down", "cursor(1)", "Down", show=False),
        Binding("pageup", "cursor(-10)", "Page up", show=False),
        Binding("pagedown", "cursor(10)", "Page down", show=False),
        Binding("enter", "choose", "Select", show=False),
    ]

    class Selected(Message):
        """A candidate was selected."""

        def __init__(self, node: NodeId) -> None:
            self.node = node
            super().__init__()

    view: EpisodeView | None = None
    waiting: str = "Waiting for the first proposal…"
    cursor: NodeId | None = None

    def show(self, view: EpisodeView | None, waiting: str) -> None:
        """Show the candidates of a view; `waiting` is what an empty table says."""
        before, was_waiting = self.view, self.waiting
        self.view, self.waiting = view, waiting
        if _shown(before) == _shown(view) and (self.rows or waiting == was_waiting):
            return
        ids = [row.node for row in self.rows]
        if self.cursor not in ids:
            self.cursor = ids[0] if ids else None
        cut = sum(row.mark == "cut" for row in self.rows)
        self.set_title(self.TITLE, view.title if view else "")
        self.set_note(f"{len(ids)} proposed, {cut} cut" if ids else "")
        self.redraw()

    @property
    def rows(self) -> tuple[CandidateView, ...]:
        """The lines of the table."""
        return self.view.candidates if self.view is not None else ()

    def draw(self, width: int, height: int) -> list[Line]:
        """Lay out heading and rows, with a rule where the cut is."""
        if self.view is None or not self.rows:
            return quiet("\n".join(wrap(self.waiting, width)))
        columns = self._columns(width)
        longest = max(cell_len(one_line(row.action, 80)) for row in self.rows)
        room = width - 4 - sum(column.width + 2 for column in columns)
        action_width = min(room, max(longest, 16))
        thought_width = room - action_width - 2
        if thought_width < _THOUGHT_ROOM:
            action_width, thought_width = room, 0
        lines: list[Line] = [_heading(columns, action_width, thought_width)]
        cut_before = False
        for row in self.rows:
            if row.mark == "cut" and not cut_before:
                cut_before = True
                lines.append([(fit(f"╌╌ cut: {cut_words(row.why)} ", width), "$foreground 62%")])
            lines.append(self._line(row, columns, action_width, thought_width))
        under = next((row for row in self.rows if row.node == self.cursor), None)
        if under is not None and height - len(lines) >= _DETAIL_ROOM:
            lines += _details(under, width, height - len(lines))
        return lines

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        ids = [row.node for row in self.rows]
        if ids:
            index = ids.index(self.cursor) + by if self.cursor in ids else 0
            self.cursor = ids[max(0, min(len(ids) - 1, index))]
            self.redraw()
            self.scroll_to_region(Region(0, self._line_of(self.cursor), 1, 1), animate=False)

    def action_choose(self) -> None:
        """Select the candidate at the cursor."""
        if self.cursor is not None:
            self.post_message(self.Selected(self.cursor))

    def on_click(self, event: Click) -> None:
        """Select the clicked candidate."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        line = offset.y + self.scroll_offset.y
        for row in self.rows:
            if self._line_of(row.node) == line:
                self.cursor = row.node
                self.redraw()
                self.action_choose()

    def _line_of(self, node: NodeId) -> int:
        """The line of a row: below the heading, and below the cut's rule for what was cut."""
        for index, row in enumerate(self.rows):
            if row.node == node:
                return index + 1 + (row.mark == "cut")
        return 0

    def _columns(self, width: int) -> list[Column]:
        """The columns that fit beside an action of the length these rows have."""
        longest = max(cell_len(one_line(row.action, 80)) for row in self.rows)
        room = width - 4 - max(16, min(longest, width // 2))
        kept = {}
        for column in sorted(_COLUMNS, key=lambda column: column.rank, reverse=True):
            if column.name == "reward" and column.width + 2 > room:
                column = column._replace(width=6)  # the number without its bar
            if column.width + 2 <= room and self._has_data(column):
                room -= column.width + 2
                kept[column.name] = column
        return [kept[column.name] for column in _COLUMNS if column.name in kept]

    def _has_data(self, column: Column) -> bool:
        given = self.view.numbers if self.view is not None else frozenset()
        match column.name:
            case "mean" | "visits":
                return "visits" in given
            case "reward" | "margin":
                return column.name in given
            case "beam":
                return len({row.beam for row in self.rows}) > 1
            case _:
                return True

    def _line(self, row: CandidateView, columns: list[Column], action_width: int, thought_width: int) -> Line:
        under = row.node == self.cursor and self.has_focus
        focus = self.view is not None and row.node == self.view.focus
        base = MARK_STYLES[row.mark]
        pointer = "▸" if row.node == self.cursor else " "
        human = HUMAN if row.human else " "
        action = fit(one_line(row.action) or "(no action)", action_width)
        line: Line = [
            (pointer, "$accent"),
            (GLYPHS[row.mark], base),
            (f"{human} ", "$accent"),
            (action, f"{base} underline" if focus and not under else base),
        ]
        for column in columns:
            line.append(("  ", ""))
            line.extend(_cell(column, row, self.view.scale if self.view else ValueRange(), base))
        if thought_width:
            line.append((f"  {fit(one_line(row.thought), thought_width)}", f"{base} italic"))
        return [(text, CURSOR) for text, _ in line] if under else line


def _shown(view: EpisodeView | None) -> tuple[object, ...]:
    return (view.candidates, view.focus, view.scale, view.title) if view is not None else ()


def _details(row: CandidateView, width: int, height: int) -> list[Line]:
    """Below a short table: the reply at the cursor in full, as far as there is room."""
    rule = "─" * width
    lines: list[Line] = [[], [(rule, "$foreground 20%")]]
    texts = [("Thinks", row.thought, "italic"), ("Does", row.action or "(no action)", "bold")]
    for name, text, style in [*texts, ("Sees", row.observation or "", "")]:
        for index, line in enumerate(wrap(clean(text), max(8, width - 8)) if text else []):
            lines.append([(f"{name if not index else '':<8}", "$foreground 62%"), (line, style)])
    return lines[:height]


def _heading(columns: list[Column], action_width: int, thought_width: int) -> Line:
    names = [("    " + fit("action", action_width), "$foreground 62%")]
    for column in columns:
        right = column.name != "reward" or column.width < _BAR
        names.append(("  " + fit(column.heading, column.width, right=right), "$foreground 62%"))
    if thought_width:
        names.append(("  " + fit("thought", thought_width), "$foreground 62%"))
    return names


def _cell(column: Column, row: CandidateView, scale: ValueRange, base: str) -> Line:
    """One cell: the reward as bar and number, everything else as text."""
    if column.name == "reward":
        value = (fit(number(row.reward), 6, right=True), base)
        if column.width < _BAR:
            return [value]
        drawn = bar(scale.share(row.reward), _BAR)
        style = "$foreground 40%" if row.mark == "cut" else "$primary"
        return [(drawn, f"{style} on $foreground 8%"), value]
    texts = {
        "margin": signed(row.margin),
        "logp": number(row.log_probability),
        "n": str(row.samples),
        "mean": number(row.mean_return),
        "visits": str(row.visits) if row.visits else "–",
        "tokens": str(row.tokens),
        "beam": str(row.beam),
    }
    return [(fit(texts[column.name], column.width, right=True), base)]
