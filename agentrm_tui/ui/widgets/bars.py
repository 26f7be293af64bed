"""The one-line bars of the episode screen: header, pane tabs, scrubber."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message
from textual.widgets import Static

from agentrm_models.terminal_text import one_line
from agentrm_tui.runs.state import RunState
from agentrm_tui.terminal_text import clip, duration, number
from agentrm_tui.ui.views import EpisodeView

PANES: dict[str, str] = {
    "map": "Map",
    "candidates": "Candidates",
    "transcript": "Transcript",
    "picture": "Picture",
    "values": "Value",
    "tree": "Tree",
}
"""The panes in the order of their keys; map and tree are two views of the search, of which one is shown at a time."""


class Bar(Static):
    """Text of fixed height that is repainted only when it changed, without a new layout."""

    _shown = Content("")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", markup=False, id=id)

    def put(self, content: Content) -> None:
        """Show this."""
        if not content.is_same(self._shown):
            self._shown = content
            self.update(content, layout=False)


class TitleBar(Bar):
    """Which run this is."""

    def show(self, state: RunState, view: EpisodeView | None, replay: bool) -> None:
        """Name environment, task, search and models, as far as there is room."""
        width = max(10, self.size.width)
        run = state.run
        if run is None:
            self.put(Content.assemble(("agentrm", "bold $accent"), ("  starting…", "$foreground 62%")))
            return
        episodes = list(state.episodes)
        plan = run.plan
        count = max(len(episodes), len(plan.tasks))
        place = f"episode {episodes.index(view.id) + 1}/{count}" if view is not None and count > 1 else ""
        origin = f"{plan.environment} ({run.origin})" if run.origin == "compatible" else plan.environment
        words = [one_line(origin, 60), one_line(view.start.task if view else "", 60), plan.search.words]
        facts = [
            *words,
            f"policy {one_line(plan.policy, 60)}",
            f"reward {one_line(plan.reward, 60)}" if plan.reward else "",
        ]
        left = "agentrm"
        outcome = state.episodes[view.id].outcome if view is not None and view.id in state.episodes else None
        score = f"score {number(outcome)}" if outcome is not None else ""
        ends = [part for part in (place, score, "replay" if replay else "") if part]
        while ends and sum(len(part) + 2 for part in ends) > width // 2:
            ends.pop()
        right = "  ".join(ends)
        body = _fitting([fact for fact in facts if fact], width - len(left) - len(right) - 4)
        gap = " " * max(1, width - len(left) - 2 - cell_len(body) - cell_len(right))
        self.put(
            Content.assemble((left, "bold $accent"), ("  ", ""), (body, ""), (gap, ""), (right, "$foreground 62%"))
        )


def _fitting(facts: list[str], width: int) -> str:
    """As many facts as fit whole; a first one that is too long is cut."""
    line = clip(facts[0], width)
    for fact in facts[1:]:
        if cell_len(line) + 3 + cell_len(fact) > width:
            break
        line += f" · {fact}"
    return line


class PaneTabs(Bar):
    """The panes by number, for terminals that show one at a time."""

    class Picked(Message):
        """A tab was clicked."""

        def __init__(self, pane: str) -> None:
            self.pane = pane
            super().__init__()

    ALLOW_SELECT: ClassVar[bool] = False

    _current = ""

    def show(self, current: str) -> None:
        """Mark the pane that is shown; it also stands in brackets, for screens without colours."""
        self._current = current
        parts: list[tuple[str, str]] = []
        for pane, text in self._tabs().items():
            parts.append((text, "bold $accent" if pane == current else "$foreground 62%"))
            parts.append((" ", ""))
        self.put(Content.assemble(*parts))

    def on_resize(self, event: Resize) -> None:
        """Names are left out where there is no room for them."""
        self.show(self._current)

    def on_click(self, event: Click) -> None:
        """Show the clicked pane."""
        left = 0
        for pane, text in self._tabs().items():
            left += len(text) + 1
            if event.x - 1 < left:
                self.post_message(self.Picked(pane))
                return

    def _tabs(self) -> dict[str, str]:
        """The text of each tab: number and name, or the number alone for all but the current one."""
        named = {pane: f"{key} {name}" for key, (pane, name) in enumerate(PANES.items(), 1)}
        roomy = sum(len(text) + 3 for text in named.values()) <= self.size.width
        short = {pane: text if roomy or pane == self._current else text[:1] for pane, text in named.items()}
        return {pane: f"[{text}]" if pane == self._current else f" {text} " for pane, text in short.items()}


class Scrubber(Bar):
    """Where in the recording the screen stands. A click goes there."""

    class Moved(Message):
        """A place on the line was clicked."""

        def __init__(self, share: float) -> None:
            self.share = share
            super().__init__()

    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._place: tuple[int, int, float, bool, float] = (0, 0, 0.0, False, 1.0)

    def show(self, position: int, total: int, clock: float, playing: bool, speed: float) -> None:
        """Draw the line for `position` of `total` events."""
        self._place = (position, total, clock, playing, speed)
        left, right = self._ends()
        room = self._room()
        at = round(position / total * (room - 1)) if total else 0
        line = Content.assemble(
            (left, "bold $accent"),
            ("━" * at, "$accent"),
            ("●", "bold $accent"),
            ("─" * (room - 1 - at), "$foreground 30%"),
            (right, "$foreground 62%"),
        )
        self.put(line)

    def on_resize(self, event: Resize) -> None:
        """The line is as long as the screen is wide."""
        self.show(*self._place)

    def on_click(self, event: Click) -> None:
        """Go to the clicked place."""
        left, _ = self._ends()
        share = (event.x - 1 - len(left)) / max(1, self._room() - 1)
        self.post_message(self.Moved(max(0.0, min(1.0, share))))

    def _ends(self) -> tuple[str, str]:
        position, total, clock, playing, speed = self._place
        return (f"{'▶' if playing else '‖'} {speed:g}× ", f" event {position}/{total} · {duration(clock)}")

    def _room(self) -> int:
        left, right = self._ends()
        return max(4, self.size.width - len(left) - len(right))
