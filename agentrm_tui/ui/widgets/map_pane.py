"""The search map: the whole search at a glance, for every algorithm and at every size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.geometry import Region
from textual.message import Message

from agentrm_models.terminal_text import one_line
from agentrm_tui.search.tree import ROOT, Node, NodeId
from agentrm_tui.terminal_text import clip, fit, number, signed, wrap
from agentrm_tui.ui.colour_scale import ColourScale
from agentrm_tui.ui.search_map import MapCell, SearchMap, lay_out, weigh
from agentrm_tui.ui.views import GLYPHS, HUMAN, EpisodeView, ValueRange, cut_words
from agentrm_tui.ui.widgets.pane import CURSOR, Line, Pane, quiet

_EDGE = "▏"
_END = "■"
_HATCH = "╱"
_TALLEST = 2
"""Lines of a step at most."""
_ROOM_FOR_ENDS = 8
"""Cells of an action from which on it is better known by its end than by its beginning."""
_NO_SCALE = ValueRange()


class SearchMapPane(Pane):
    """An icicle with a cursor. ↑ ↓ go along the path, ← → along the step; enter selects, z makes a subtree the whole.

    Attributes:
        cursor: The node under the cursor.
        top: The node whose subtree is shown.
    """

    TITLE: ClassVar[str] = "Search map"
    ALLOW_SELECT: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move('up')", "Up", show=False),
        Binding("down", "move('down')", "Down", show=False),
        Binding("left", "move('left')", "Left", show=False),
        Binding("right", "move('right')", "Right", show=False),
        Binding("enter", "choose", "Select", show=False),
        Binding("z,plus,equals_sign", "zoom(True)", "Zoom in", show=False),
        Binding("Z,minus,backspace", "zoom(False)", "Zoom out", show=False),
    ]

    class Selected(Message):
        """A node was selected."""

        def __init__(self, node: NodeId) -> None:
            self.node = node
            super().__init__()

    view: EpisodeView | None = None

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cursor: NodeId = ROOT
        self.top: NodeId = ROOT
        self.map = SearchMap((), _NO_SCALE)
        self._weights: dict[NodeId, float] = {}
        self._drawn: dict[object, Line] = {}
        self._asked: frozenset[NodeId] = frozenset()
        self._bright = False
        self._tall = 1
        self._scale: ColourScale | None = None

    def show(self, view: EpisodeView | None, asked: Sequence[NodeId] = ()) -> None:
        """Bring the map up to date; `asked` are the nodes of the request that is being answered."""
        before, self.view = self.view, view
        if view is None or before is None or view.id != before.id:
            self.cursor = self.top = ROOT
        self._asked = frozenset(asked)
        if view is not None:
            if self.top not in view.tree:
                self.top = ROOT
            if self.cursor not in view.tree:
                self.cursor = view.focus
        self._drawn, self._weights = {}, {}
        self.redraw()

    def pulse(self, asked: Sequence[NodeId]) -> None:
        """Breathe where the search waits for an answer; called about once a second."""
        asked_before, self._asked = self._asked, frozenset(asked)
        self._bright = not self._bright and bool(asked)
        if self._asked or asked_before:
            self.redraw()

    def reveal(self, node: NodeId) -> None:
        """Put the cursor on a node and bring it into view."""
        if self.view is not None and node in self.view.tree and node != self.cursor:
            self.cursor = node
            self._repaint_cursor()

    def draw(self, width: int, height: int) -> list[Line]:
        """One line for each step below the top."""
        view = self.view
        if view is None:
            self.map = SearchMap((), _NO_SCALE)
            return quiet("\n".join(wrap("The search is drawn here.", width)))
        self._weights = self._weights or weigh(view.tree)
        self.map = lay_out(view, self._weights, self.top, width)
        self._tall = max(1, min(_TALLEST, height // len(self.map.rows)))
        self._tell()
        return self._with_cursor(self._lines())

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        self._scale, self._drawn = None, {}

    def action_move(self, where: str) -> None:
        """Move the cursor to a neighbour that has a cell."""
        if self.view is None or not self.map.rows:
            return
        line, place = self.map.nearest(self.view.tree, self.cursor)
        match where:
            case "up":
                found = self.view.tree[self.map.rows[line][place].node].parent if line else None
                if found is None:
                    self.action_zoom(False)
                    return
            case "down":
                left = self.map.rows[line][place].left
                below = self.map.rows[line + 1] if line + 1 < len(self.map.rows) else ()
                found = next((cell.node for cell in below if cell.left == left), None)
            case _:
                row, to = self.map.rows[line], place + (1 if where == "right" else -1)
                found = row[to].node if 0 <= to < len(row) else None
        if found is not None:
            self.cursor = found
            self._repaint_cursor()

    def action_choose(self) -> None:
        """Select the node at the cursor."""
        if self.view is not None:
            self.post_message(self.Selected(self.cursor))

    def action_zoom(self, closer: bool) -> None:
        """Make the cursor's subtree the whole map, or show what is one step above."""
        if self.view is None:
            return
        parent = self.view.tree[self.top].parent
        self.top = self.cursor if closer else parent if parent is not None else ROOT
        self._drawn = {}
        self.redraw()

    def on_click(self, event: Click) -> None:
        """A click selects; a second one zooms in."""
        offset = event.get_content_offset(self)
        line = (offset.y + self.scroll_offset.y) // self._tall if offset is not None else -1
        if offset is None or not 0 <= line < len(self.map.rows):
            return
        for cell in self.map.rows[line]:
            if cell.left <= offset.x < cell.left + cell.width:
                self.cursor = cell.node
                self._repaint_cursor()
                self.action_choose()
                if event.chain > 1:
                    self.action_zoom(True)

    @property
    def colours(self) -> ColourScale:
        """The theme's scale."""
        if self._scale is None:
            self._scale = ColourScale(self.app.theme_variables)
        return self._scale

    def _repaint_cursor(self) -> None:
        self._tell()
        self.lines = self._changed(self._with_cursor(self._lines()))
        if self.view is not None:
            line, _ = self.map.nearest(self.view.tree, self.cursor)
            self.scroll_to_region(Region(0, line * self._tall, 1, self._tall), animate=False, immediate=True)

    def _tell(self) -> None:
        """What is under the cursor, above; the scale, below."""
        view = self.view
        if view is None or not self.map.rows:
            return
        above = f"from step {view.tree[self.top].depth} on · " if self.top != ROOT else ""
        line, place = self.map.nearest(view.tree, self.cursor)
        cell = self.map.rows[line][place]
        self.set_title(self.TITLE, above + _facts(view.tree[cell.node], cell))
        name = "Q" if "visits" in view.numbers else "reward"
        low, high = self.map.scale
        nodes = len(view.tree) - 1
        rewound = f", {view.abandoned} abandoned" if view.abandoned else ""
        words = f" {nodes:,} node{'s' * (nodes != 1)}{rewound}"
        legend: Line = [(f"{name} {number(low)} ", ""), *self.colours.legend, (f" {number(high)} ·", "")]
        judged = any(cell.value is not None for row in self.map.rows for cell in row)
        self.set_note(Content.assemble(*(legend if judged else []), (words, "")))

    def _lines(self) -> list[Line]:
        """All lines; where there is room, each step has a second one that says how much went through its nodes."""
        return [self._row(row, part) for row in self.map.rows for part in range(self._tall)]

    def _row(self, row: tuple[MapCell, ...], part: int) -> Line:
        key = (row, part, tuple(cell.node in self._asked for cell in row), self._bright)
        line = self._drawn.get(key)
        if line is None:
            line, at = [], 0
            for cell in row:
                line.append((" " * (cell.left - at), ""))
                line.append((self._weight(cell) if part else self._label(cell), self._style(cell)))
                at = cell.left + cell.width
            self._drawn[key] = line
        return line

    def _weight(self, cell: MapCell) -> str:
        assert self.view is not None
        node = self.view.tree[cell.node]
        times = node.visits or node.samples
        words = f"×{times}" if node.parent is not None and cell.merged == 1 and times > 1 else ""
        edge = _edge(cell, node) if _edge(cell, node) in (_EDGE, _HATCH) else " "
        return edge + fit(words if len(words) < cell.width else "", cell.width - 1)

    def _style(self, cell: MapCell) -> str:
        known = cell.value is not None and cell.node != ROOT
        share = self.map.scale.share(cell.value) if known else None
        style = self.colours.style(share, cell.mark == "cut")
        bold = "bold " if cell.mark == "chosen" else ""
        soft = "dim " if self._bright and cell.node in self._asked else ""
        return f"{bold}{soft}{style}"

    def _label(self, cell: MapCell) -> str:
        assert self.view is not None
        node = self.view.tree[cell.node]
        room = cell.width - 1
        if cell.node == ROOT:
            return fit("★start" if len(self.view.chosen) > 1 else " start", cell.width)
        edge = _edge(cell, node)
        if cell.merged > 1:
            more = f"+{cell.merged - 1}"
            return edge + fit(more if len(more) <= room else "", room)
        value = _brief(cell.value, room)
        ended = f"={node.outcome:g}" if cell.done and node.outcome is not None else ""
        head = value + ended
        if cell_len(head) > room:
            return edge + fit(value if cell_len(value) <= room else "", room)
        action = _short(one_line(node.action) or "(no action)", cell.shared, room - cell_len(head) - 1)
        label = f"{head} {action}" if head and action else head or action
        return edge + label + " " * (room - cell_len(label))

    def _with_cursor(self, lines: list[Line]) -> list[Line]:
        """Paint the cursor's cell, and underline the node whose path the other panes show."""
        view = self.view
        if view is None or not self.map.rows:
            return lines
        lines = list(lines)
        focus = self.map.find(view.focus)
        if focus is not None and view.focus != ROOT:
            self._paint(lines, focus, "underline")
        self._paint(lines, self.map.nearest(view.tree, self.cursor), CURSOR if self.has_focus else "")
        return lines

    def _paint(self, lines: list[Line], where: tuple[int, int], style: str) -> None:
        row, place = where
        for line in range(row * self._tall, (row + 1) * self._tall):
            pieces = list(lines[line])
            text, before = pieces[2 * place + 1]
            pieces[2 * place + 1] = (text, style if style == CURSOR else f"{style} {before}".strip())
            lines[line] = pieces


def _edge(cell: MapCell, node: Node) -> str:
    """The first column: how the node stands."""
    if cell.mark == "chosen":
        return GLYPHS["chosen"]
    if cell.done:
        return _END
    if cell.mark == "cut":
        return GLYPHS["cut"] if cell.width > 1 else _HATCH
    return HUMAN if node.source == "human" else _EDGE


def _short(action: str, shared: int, room: int) -> str:
    """An action in so many cells; where it is too long, what all siblings begin with is left out."""
    if room < 2:
        return ""
    if cell_len(action) > room >= _ROOM_FOR_ENDS and 1 < shared < len(action):
        action = "…" + action[shared:]
    return clip(action, room)


def _brief(value: float | None, room: int) -> str:
    """A number in at most so many characters: 0.83, or .83; nothing where there is none or no room."""
    if value is None:
        return ""
    text = number(value)
    short = text.replace("0.", ".", 1) if abs(value) < 1 else text
    return text if len(text) <= room else short if len(short) <= room else ""


def _facts(node: Node, cell: MapCell) -> str:
    """All about the node under the cursor, in one line; its action last, since it may be long."""
    if node.parent is None:
        return "start"
    facts = [f"step {node.depth}" + (f" and {cell.merged - 1} more" if cell.merged > 1 else "")]
    if node.reward_value is not None:
        facts.append(f"reward {number(node.reward_value)}")
    if node.visits:
        facts.append(f"Q {number(node.mean_return)} ×{node.visits}")
    elif node.samples > 1:
        facts.append(f"{node.samples} samples")
    if node.pruned:
        margin = f" {signed(node.margin)}" if node.margin is not None and node.margin == node.margin else ""
        facts.append(f"{cut_words(node.pruned)}{margin}")
    if node.done:
        facts.append(f"ended, score {number(node.outcome)}")
    facts.append(clip(one_line(node.action) or "(no action)", 80))
    return " · ".join(facts)
