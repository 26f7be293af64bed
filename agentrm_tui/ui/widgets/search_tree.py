"""The search tree. Cut subtrees stay closed and unbuilt: ten thousand nodes cost what is open, not what exists."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.message import Message
from textual.widgets import Tree as TreeWidget
from textual.widgets.tree import TreeNode

from agentrm_tui.search.tree import ROOT, Node, NodeId, Tree
from agentrm_tui.terminal_text import clip, number, one_line, signed
from agentrm_tui.ui.views import GLYPHS, HUMAN, EpisodeView, mark_of

OPEN_NODES = 150
"""Nodes opened by themselves at most; people may open more."""
CHILDREN_SHOWN = 200
"""Children of one node drawn at most."""
_GUIDE = 2
_LABEL_ROOM = 22


class SearchTree(TreeWidget[NodeId], inherit_bindings=False):
    """Follows the search: the best path is open, what was cut is closed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tree--chosen", "tree--cut", "tree--best", "tree--fact"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor_up", "Up", show=False),
        Binding("down", "cursor_down", "Down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("enter", "choose", "Select", show=False),
        Binding("plus,equals_sign", "open(True)", "Open", show=False),
        Binding("minus", "open(False)", "Close", show=False),
    ]
    TITLE: ClassVar[str] = "Search tree"

    class Selected(Message):
        """A node was selected."""

        def __init__(self, node: NodeId) -> None:
            self.node = node
            super().__init__()

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", data=ROOT, id=id)
        self.guide_depth = _GUIDE
        self.auto_expand = False
        self.view: EpisodeView | None = None
        self._built: dict[NodeId, TreeNode[NodeId]] = {}
        self._labels: dict[NodeId, tuple[object, ...]] = {}
        self._by_hand: set[NodeId] = set()
        self._top: NodeId = ROOT
        self._episode = ""

    def on_mount(self) -> None:
        """Name the pane and start empty."""
        self.border_title = self.TITLE
        self.show_root = True
        self.root.expand()

    def on_resize(self, event: Resize) -> None:
        """How many levels fit depends on the width: start again from the root."""
        if self.view is not None:
            self._start_over(ROOT)
            self.show(self.view)
            self.reveal(self.view.focus)

    @property
    def built(self) -> int:
        """Number of nodes that the widget holds."""
        return len(self._built)

    def show(self, view: EpisodeView | None) -> None:
        """Bring the widget up to date with an episode."""
        self.view = view
        if view is None:
            if self._built:
                self._start_over(ROOT)
            self.cursor_line = -1
            self.border_subtitle = ""
            return
        if not self.size.width:
            return
        if view.id != self._episode:
            self._episode, self._top = view.id, ROOT
            self._by_hand.clear()
            self._start_over(ROOT)
        if any(node not in view.tree for node in self._built):
            self._start_over(ROOT)
        self._move_top(view)
        self._grow(view.tree, set(view.best) | set(view.path))
        rewound = f", {view.abandoned} abandoned" if view.abandoned else ""
        self.border_subtitle = f"{len(view.tree) - 1:,} nodes{rewound}"

    def reveal(self, node_id: NodeId) -> None:
        """Put the cursor on a node if it is built and open."""
        node = self._built.get(node_id)
        if node is not None:
            self.call_after_refresh(self._go_to, node)

    def _go_to(self, node: TreeNode[NodeId]) -> None:
        if node.line >= 0 and node.line != self.cursor_line:
            self.move_cursor(node)
            self.scroll_to_line(node.line, animate=False)

    def action_choose(self) -> None:
        """Select the node at the cursor; on the first line of a shortened tree, show the steps above it."""
        node = self.cursor_node
        if node is None or node.data is None or self.view is None:
            return
        if node is self.root and self._top != ROOT:
            path = self.view.tree.path(self._top)
            self._by_hand.add(self._top)
            self._start_over(path[max(0, len(path) - 1 - self._levels() // 2)].id)
            self.show(self.view)
            return
        self.post_message(self.Selected(node.data))

    async def _on_click(self, event: object) -> None:
        """A click moves the cursor there and selects."""
        await super()._on_click(event)  # type: ignore[arg-type]
        self.action_choose()

    def action_open(self, opened: bool) -> None:
        """Open or close the subtree at the cursor."""
        node = self.cursor_node
        if node is None or node.data is None or self.view is None:
            return
        self._by_hand.add(node.data)
        if opened:
            self._fill(node, self.view.tree)
            node.expand()
        else:
            node.collapse()

    def render_label(self, node: TreeNode[NodeId], base_style: Style, style: Style) -> Text:
        """Glyph, reward and action; facts follow quietly. Never parsed as markup."""
        view = self.view
        if view is None or node.data is None or node.data not in view.tree:
            return Text("The tree grows from here.", style=base_style + self._ink("tree--fact"))
        item = view.tree[node.data]
        mark = mark_of(item, view.chosen)
        name = {"chosen": "tree--chosen", "cut": "tree--cut"}.get(mark)
        if name is None and node.data in view.best:
            name = "tree--best"
        plain = style.bgcolor is None
        own = self._ink(name) if name and plain else Style()
        fact = self._ink("tree--fact") if plain else Style()
        text = Text(no_wrap=True, end="")
        fold = "" if node is self.root else "  " if not node.allow_expand else "▾ " if node.is_expanded else "▸ "
        room = self.scrollable_content_region.width - _GUIDE * _depth(node) - len(fold)
        words = clip(self._words(item), room)
        text.append(fold, base_style + fact + style)
        text.append(words, base_style + own + style)
        text.append(clip(self._facts(item, node), max(0, room - cell_len(words))), base_style + fact + style)
        return text

    def get_label_width(self, node: TreeNode[NodeId]) -> int:
        """Labels are cut to the pane, so nothing needs to be measured."""
        return 1

    def _ink(self, component: str) -> Style:
        """Colour and weight of a component, without its background."""
        full = self.get_component_rich_style(component)
        return Style(color=full.color, bold=full.bold)

    def _words(self, item: Node) -> str:
        if item.parent is None:
            return "start"
        glyph = (
            HUMAN
            if item.source == "human"
            else GLYPHS[mark_of(item, self.view.chosen if self.view is not None else ())]
        )
        reward = f" {number(item.reward_value)}" if item.reward_value is not None else ""
        above = f"⋯ step {item.depth}: " if item.id == self._top and self._top != ROOT else ""
        return f"{above}{glyph}{reward} {clip(one_line(item.action) or '(no action)', 48)}"

    def _facts(self, item: Node, node: TreeNode[NodeId]) -> str:
        facts = []
        if item.visits:
            facts.append(f"Q {number(item.mean_return)} ×{item.visits}")
        if item.pruned:
            margin = f" {signed(item.margin)}" if item.margin is not None and item.margin == item.margin else ""
            facts.append(f"{one_line(item.pruned, 60)}{margin}")
        if item.phase == "rollout":
            facts.append("rollout")
        if item.done:
            facts.append("ended")
        if item.children and not node.is_expanded:
            facts.append(f"+{len(item.children)}")
        if len(item.children) > CHILDREN_SHOWN and node.is_expanded:
            facts.append(f"first {CHILDREN_SHOWN} of {len(item.children)} shown")
        return "  " + " · ".join(facts) if facts else ""

    def _levels(self) -> int:
        """Levels that leave room for a label."""
        return max(4, (self.size.width - _LABEL_ROOM) // _GUIDE)

    def _move_top(self, view: EpisodeView) -> None:
        """Start a deep tree at a later step, in hops, so that labels stay readable."""
        if self._top in self._by_hand or any(node in self._by_hand for node in view.path):
            return
        levels = self._levels()
        index = view.path.index(self._top) if self._top in view.path else -1
        if index < 0 or len(view.path) - index > levels:
            target = max(0, len(view.path) + 2 - levels) if len(view.path) > levels else 0
            if view.path[target] != self._top:
                self._start_over(view.path[target])

    def _start_over(self, top: NodeId) -> None:
        self._built.clear()
        self._labels.clear()
        self._top = top
        self.reset("", data=top)
        self.root.expand()
        self._built[top] = self.root

    def _grow(self, tree: Tree, main: set[NodeId]) -> None:
        """Open the main line and what is alive, close what was cut, and refresh labels that changed."""
        if self._top not in tree:
            self._start_over(ROOT)
        queue = [self.root]
        opened = 0
        while queue:
            widget_node = queue.pop(0)
            item = tree[widget_node.data or ROOT]
            widget_node.allow_expand = bool(item.children) and widget_node is not self.root
            if item.id not in self._by_hand and widget_node is not self.root:
                wanted = bool(item.children) and self._opens(tree, item, main, opened)
                if wanted != widget_node.is_expanded:
                    widget_node.expand() if wanted else widget_node.collapse()
            if widget_node.is_expanded:
                self._fill(widget_node, tree)
                opened += len(widget_node.children)
                queue.extend(sorted(widget_node.children, key=lambda child: child.data not in main))
            signature = self._signature(item, widget_node)
            if self._labels.get(item.id) != signature:
                self._labels[item.id] = signature
                widget_node.refresh()

    def _opens(self, tree: Tree, item: Node, main: set[NodeId], opened: int) -> bool:
        if item.id in main:
            return True
        if item.pruned or opened > OPEN_NODES:
            return False
        return any(not tree[child].pruned for child in item.children[:CHILDREN_SHOWN])

    def _fill(self, widget_node: TreeNode[NodeId], tree: Tree) -> None:
        """Build the children that are not built yet."""
        item = tree[widget_node.data or ROOT]
        for child in item.children[len(widget_node.children) : CHILDREN_SHOWN]:
            self._built[child] = widget_node.add("", data=child, allow_expand=False)

    def _signature(self, item: Node, widget_node: TreeNode[NodeId]) -> tuple[object, ...]:
        main = self.view is not None and item.id in self.view.best
        return (
            mark_of(item, self.view.chosen if self.view is not None else ()),
            item.reward_value,
            item.visits,
            item.total_return,
            len(item.children),
            widget_node.is_expanded,
            main,
        )


def _depth(node: TreeNode[NodeId]) -> int:
    depth = 0
    while node.parent is not None:
        node, depth = node.parent, depth + 1
    return depth
