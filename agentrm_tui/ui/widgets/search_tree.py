"""The search tree: follows the search, with the best path open and what was cut closed."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region
from textual.message import Message

from agentrm_models.terminal_text import one_line
from agentrm_tui.search.tree import ROOT, Node, NodeId
from agentrm_tui.terminal_text import clip, number, signed, wrap
from agentrm_tui.ui.tree_rows import CHILDREN_SHOWN, TreeRow, first_node, tree_rows
from agentrm_tui.ui.views import GLYPHS, HUMAN, EpisodeView, cut_words
from agentrm_tui.ui.widgets.pane import CURSOR, Line, Pane, quiet

_LABEL_ROOM = 22
_QUIET = "$foreground 62%"
_GUIDES = "$foreground 25%"
_FOLDS = {None: "", True: "▾ ", False: "▸ "}


class SearchTree(Pane):
    """A tree with a cursor; lines are made when their row changes."""

    TITLE: ClassVar[str] = "Search tree"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", "Up", show=False),
        Binding("down", "cursor(1)", "Down", show=False),
        Binding("pageup", "cursor(-20)", "Page up", show=False),
        Binding("pagedown", "cursor(20)", "Page down", show=False),
        Binding("enter", "choose", "Select", show=False),
        Binding("plus,equals_sign", "open(True)", "Open", show=False),
        Binding("minus", "open(False)", "Close", show=False),
    ]

    class Selected(Message):
        """A node was selected."""

        def __init__(self, node: NodeId) -> None:
            self.node = node
            super().__init__()

    view: EpisodeView | None = None
    cursor: NodeId = ROOT

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[TreeRow] = []
        self._drawn: dict[TreeRow, Line] = {}
        self._drawn_width = 0
        self._by_hand: dict[NodeId, bool] = {}
        self._top: NodeId = ROOT
        self._top_by_hand = False

    def show(self, view: EpisodeView | None) -> None:
        """Bring the lines up to date with an episode."""
        before, self.view = self.view, view
        if view is None or before is None or view.id != before.id:
            self._by_hand, self._top, self._top_by_hand, self.cursor = {}, ROOT, False, ROOT
            self._drawn = {}
        rewound = f", {view.abandoned} abandoned" if view is not None and view.abandoned else ""
        nodes = len(view.tree) - 1 if view is not None else 0
        self.set_note(f"{nodes:,} node{'s' * (nodes != 1)}{rewound}" if view is not None else "")
        self.redraw()

    def reveal(self, node: NodeId) -> None:
        """Put the cursor on a node and bring it into view, if it has a line."""
        if node != self.cursor and any(row.node == node for row in self.rows):
            self.cursor = node
            self._repaint_cursor()

    def draw(self, width: int, height: int) -> list[Line]:
        """One line for each row; a row that looks as before keeps its line."""
        view = self.view
        if view is None:
            self.rows = []
            return quiet("\n".join(wrap("The tree grows from here.", width)))
        if self._top not in view.tree or not self._top_by_hand:
            self._top = first_node(view, self._top if self._top in view.tree else ROOT, self._levels(width))
        if width != self._drawn_width:
            self._drawn, self._drawn_width = {}, width
        self.rows = tree_rows(view, self._top, self._by_hand)
        self._drawn = {row: self._drawn.get(row) or self._line(row, view.tree[row.node], width) for row in self.rows}
        return [self._with_cursor(row, self._drawn[row]) for row in self.rows]

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        if self.rows:
            index = self._cursor_line() + by
            self.cursor = self.rows[max(0, min(len(self.rows) - 1, index))].node
            self._repaint_cursor()

    def action_choose(self) -> None:
        """Select the node at the cursor; on the first line of a shortened tree, show the steps above it."""
        if self.view is None or not self.rows:
            return
        if self.cursor == self._top != ROOT:
            path = self.view.tree.path(self._top)
            self._top = path[max(0, len(path) - 1 - self._levels(self._drawn_width) // 2)].id
            self._top_by_hand = True
            self.redraw()
            return
        self.post_message(self.Selected(self.cursor))

    def action_open(self, opened: bool) -> None:
        """Open or close the subtree at the cursor."""
        self._by_hand[self.cursor] = opened
        self.redraw()

    def on_click(self, event: Click) -> None:
        """A click moves the cursor there and selects."""
        offset = event.get_content_offset(self)
        line = offset.y + self.scroll_offset.y if offset is not None else -1
        if 0 <= line < len(self.rows):
            self.cursor = self.rows[line].node
            self._repaint_cursor()
            self.action_choose()

    def _repaint_cursor(self) -> None:
        self.lines = self._changed([self._with_cursor(row, self._drawn[row]) for row in self.rows])
        self.scroll_to_region(Region(0, self._cursor_line(), 1, 1), animate=False, immediate=True)

    def _cursor_line(self) -> int:
        """The line of the cursor, or of the first row where its node has none now."""
        return next((line for line, row in enumerate(self.rows) if row.node == self.cursor), 0)

    def _with_cursor(self, row: TreeRow, line: Line) -> Line:
        if row.node != self.cursor:
            return line
        guides, *rest = line
        if self.has_focus:
            return [guides, *((text, CURSOR) for text, _ in rest)]
        return [guides, *((text, f"{style} on $foreground 12%".strip()) for text, style in rest)]

    def _line(self, row: TreeRow, item: Node, width: int) -> Line:
        """Guides, sign, reward and action; facts follow quietly."""
        style = _style(row)
        fold = "" if row.node == self._top else _FOLDS[row.opened] or "  "
        room = width - cell_len(row.guides) - len(fold)
        words = clip(self._words(row, item), room)
        facts = clip(_facts(row, item), max(0, room - cell_len(words)))
        shown = f"{style} underline".strip() if row.shown and row.node != ROOT else style
        return [(row.guides, _GUIDES), (fold, _QUIET), (words, shown), (facts, _QUIET)]

    def _words(self, row: TreeRow, item: Node) -> str:
        if item.parent is None:
            return "start"
        glyph = HUMAN if item.source == "human" else GLYPHS[row.mark]
        reward = f" {number(item.reward_value)}" if item.reward_value is not None else ""
        above = f"⋯ step {item.depth}: " if row.node == self._top else ""
        return f"{above}{glyph}{reward} {clip(one_line(item.action) or '(no action)', 48)}"

    def _levels(self, width: int) -> int:
        """Levels that leave room for a label."""
        return max(4, (width - _LABEL_ROOM) // 2)


def _style(row: TreeRow) -> str:
    if row.mark == "chosen":
        return "bold $accent"
    if row.mark == "cut":
        return "$foreground 40%"
    return "bold $foreground" if row.best else ""


def _facts(row: TreeRow, item: Node) -> str:
    facts = []
    if item.visits:
        facts.append(f"Q {number(item.mean_return)} ×{item.visits}")
    if item.pruned:
        margin = f" {signed(item.margin)}" if item.margin is not None and item.margin == item.margin else ""
        facts.append(f"{cut_words(item.pruned)}{margin}")
    if item.phase == "rollout":
        facts.append("rollout")
    if item.done:
        facts.append("ended")
    if row.opened is False:
        facts.append(f"+{len(item.children)}")
    if len(item.children) > CHILDREN_SHOWN and row.opened:
        facts.append(f"first {CHILDREN_SHOWN} of {len(item.children)} shown")
    return "  " + " · ".join(facts) if facts else ""
