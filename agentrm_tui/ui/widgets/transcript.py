"""The transcript: thought, action and observation along the shown path."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.events import Click

from agentrm_models.terminal_text import clean
from agentrm_tui.terminal_text import clip, number, wrap
from agentrm_tui.ui.views import GLYPHS, HUMAN, EpisodeView, Turn, cut_words
from agentrm_tui.ui.widgets.candidates import MARK_STYLES
from agentrm_tui.ui.widgets.pane import Line, Pane, quiet


class Transcript(Pane):
    """Follows the newest step unless the person scrolled up."""

    TITLE: ClassVar[str] = "Transcript"
    view: EpisodeView | None = None
    unfolded = False
    """Whether reasoning is shown in full; else one line says how much there is."""
    _at_end = True
    _folds: frozenset[int] = frozenset()
    """Lines that a click folds or unfolds."""

    def show(self, view: EpisodeView | None, selected: bool) -> None:
        """Show the path of a view; the title tells whether a person selected it."""
        self.set_title(self.TITLE, "" if view is None else "selected path" if selected else "best path")
        if view is not None and self.view is not None and view.transcript == self.view.transcript:
            self.view = view
            return
        before, self.view = self.view, view
        same_path = before is not None and view is not None and before.path == view.path[: len(before.path)]
        self._at_end = self.is_vertical_scroll_end or not same_path or not self.size.height
        self.redraw()

    def redraw(self) -> None:
        """Lay out anew; stay at the newest step where the person has not scrolled up."""
        super().redraw()
        if self._at_end:
            self.scroll_end(animate=False, immediate=True)

    def fold(self) -> None:
        """Show reasoning in full, or fold it again; stay where the person reads."""
        self.unfolded = not self.unfolded
        self._at_end = False
        self.redraw()

    def on_click(self, event: Click) -> None:
        """Fold or unfold reasoning where its line is clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y + self.scroll_offset.y in self._folds:
            self.fold()

    def draw(self, width: int, height: int) -> list[Line]:
        """Goal, first observation, then a block for each step."""
        if self.view is None:
            return quiet("\n".join(wrap("What the agent thinks, does and sees appears here.", width)))
        lines: list[Line] = []
        folds: set[int] = set()
        for turn in self.view.transcript:
            if lines:
                lines.append([])
            if turn.step and turn.reasoned:
                folds.add(len(lines) + 1)
            block = _block(turn, width - 1, self.unfolded) if turn.step else _first(turn, self.view, width - 1)
            lines.extend(block)
        self._folds = frozenset(folds)
        return lines


def _first(turn: Turn, view: EpisodeView, width: int) -> list[Line]:
    goal = _paragraph("Goal", clean(view.start.goal, 600), width, "bold")
    return [*goal, *_paragraph("Sees", clean(turn.observation or ""), width, "")]


def _block(turn: Turn, width: int, unfolded: bool) -> list[Line]:
    glyph = HUMAN if turn.human else GLYPHS[turn.mark]
    facts = f"step {turn.step}"
    if turn.reward is not None:
        facts += f" · reward {number(turn.reward)}"
    if turn.why:
        facts += f" · cut: {cut_words(turn.why)}"
    facts = clip(facts, width - 3)
    rule = "─" * max(0, width - cell_len(facts) - 3)
    lines: list[Line] = [
        [(f"{glyph} ", MARK_STYLES[turn.mark]), (facts, "$foreground 62%"), (f" {rule}", "$foreground 20%")]
    ]
    lines += _reasoning(turn, width, unfolded)
    if turn.thought:
        lines += _paragraph("Thinks", clean(turn.thought), width, "italic $foreground 62%")
    lines += _paragraph("Does", clean(turn.action) or f"({turn.missing})", width, "bold")
    if turn.observation is not None:
        style = "" if turn.valid else "$warning"
        seen = clean(turn.observation)
        lines += _paragraph("Sees", seen if turn.valid else f"(invalid) {seen}", width, style)
    if turn.done:
        lines.append([(" " * 8 + "the episode ends here", "$foreground 62%")])
    return lines


def _reasoning(turn: Turn, width: int, unfolded: bool) -> list[Line]:
    """One line that a click unfolds, and the reasoning below it."""
    if not turn.reasoned:
        return []
    sign, hint = ("▾", "t or a click folds it") if unfolded else ("▸", "t or a click unfolds it")
    title: Line = [(f"{sign} {clip(turn.reasoned, width - 2)}", "$foreground 62%")]
    if width > cell_len(turn.reasoned) + len(hint) + 5:
        title.append((f" · {hint}", "$foreground 40%"))
    return [title, *(_paragraph("", clean(turn.reasoning), width, "italic $foreground 62%") if unfolded else [])]


def _paragraph(name: str, text: str, width: int, style: str) -> list[Line]:
    lines = wrap(text, max(8, width - 8))
    return [
        [(f"{name if not number else '':<8}", "$foreground 62%"), (line, style)] for number, line in enumerate(lines)
    ]
