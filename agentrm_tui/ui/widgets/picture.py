"""Goal, picture of the environment's state, and what was observed there."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.cells import cell_len

from agentrm_models.terminal_text import clean, one_line
from agentrm_tui.environments.base import Cell, Picture
from agentrm_tui.environments.pictures import decode_picture
from agentrm_tui.terminal_text import clip, wrap
from agentrm_tui.ui.views import EpisodeView, Turn
from agentrm_tui.ui.widgets.pane import Line, Pane, quiet

_ROLE_STYLES = {
    "empty": "",
    "floor": "$foreground 40%",
    "wall": "$foreground 40%",
    "agent": "bold $accent",
    "goal": "bold $success",
    "object": "bold $foreground",
    "door": "bold $secondary-lighten-2",
    "hidden": "$foreground 20%",
    "label": "$foreground 62%",
}
_TINT_STYLES = {
    "red": "bold $error",
    "green": "bold $success",
    "blue": "bold $primary",
    "purple": "bold $secondary-lighten-3",
    "yellow": "bold $warning",
    "grey": "bold $foreground 60%",
    "accent": "bold $accent",
}
_HIDDEN = "░"
_STEP = re.compile(r"step \d+(/\d+)?")


class PicturePane(Pane):
    """Shows where the agent is: goal above, picture, then the observation."""

    TITLE: ClassVar[str] = "Goal & picture"
    view: EpisodeView | None = None

    def show(self, view: EpisodeView | None) -> None:
        """Show the state after the focused node (or the last acted one before it)."""
        before, self.view = self.view, view
        if before and view and (before.picture, before.transcript) == (view.picture, view.transcript):
            return
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Stack goal, picture and observation; beside each other where the pane is wide and low."""
        view = self.view
        if view is None:
            return quiet("\n".join(wrap("The goal appears when the first episode starts.", width)))
        goal, rest = self._goal(view, width), self._observation(view, width)
        drawn = decode_picture(view.picture)
        drawn = drawn._replace(caption=_news(drawn.caption, view.start.goal))
        picture = picture_lines(drawn, width, height - len(goal) - len(rest) - 2)
        picture_width = max((_line_width(line) for line in picture), default=0)
        aside = width - picture_width - 3
        if picture and aside >= 30:
            words = self._words(view, aside)
            return _beside(picture, words, picture_width)
        middle = [[(" " * ((width - picture_width) // 2), ""), *line] for line in picture]
        return [*goal, [], *middle, *([[]] if middle else []), *rest]

    def _goal(self, view: EpisodeView, width: int) -> list[Line]:
        return [[(line, "bold")] for line in wrap(clean(view.start.goal, 600), width)]

    def _observation(self, view: EpisodeView, width: int) -> list[Line]:
        turn = _last_acted(view)
        limit = view.start.step_limit
        steps: Line = [(f"Step {turn.step} of {limit}" if limit else f"Step {turn.step}", "$foreground 62%")]
        if turn.action:
            steps.append((clip(f" · after “{one_line(turn.action)}”", max(0, width - 14)), "$foreground 62%"))
        seen = [[(line, "")] for line in wrap(clean(turn.observation or ""), width)]
        return [steps, *seen]

    def _words(self, view: EpisodeView, width: int) -> list[Line]:
        return [*self._goal(view, width), [], *self._observation(view, width)]


def picture_lines(picture: Picture, width: int, height: int) -> list[Line]:
    """Draw a picture two cells wide for each of its cells, so that squares look square, and larger where it fits."""
    if not picture.rows:
        return []
    columns = len(picture.rows[0])
    if any(cell.role == "label" for row in picture.rows for cell in row):
        across, down = 1, 1
    else:
        down = max(1, min(3, width // max(1, 2 * columns), (height - 1) // len(picture.rows)))
        across = 2 * down if columns * 2 <= width else 1
    lines: list[Line] = []
    for row in picture.rows:
        for part in range(down):
            lines.append([_piece(cell, across, part == down // 2) for cell in row[:width]])
    if picture.caption:
        lines.append([(clip(one_line(picture.caption), width), "$foreground 62%")])
    return lines


def _news(caption: str, goal: str) -> str:
    """What a caption tells besides the goal and the step, which stand around the picture anyway."""
    parts = [part for part in one_line(caption).split(" · ") if not _STEP.fullmatch(part)]
    return " · ".join(part for part in parts if part.casefold().strip(". ") != goal.casefold().strip(". "))


def _piece(cell: Cell, across: int, middle: bool) -> tuple[str, str]:
    """One line of a cell: solid glyphs fill it, others stand in its middle."""
    glyph = cell.glyph if cell_len(cell.glyph) == 1 and cell.glyph.isprintable() else "?"
    if cell.role == "hidden" and glyph == " ":
        glyph = _HIDDEN
    style = _TINT_STYLES.get(cell.tint) or _ROLE_STYLES.get(cell.role, "")
    if cell.role == "wall" and glyph == "#":
        glyph = "█"
    if glyph in "█▓▒░─":
        return (glyph * across, style)
    if across > 2 and cell.role in ("agent", "goal", "object", "door") and glyph != " ":
        style = f"{style} reverse"
    return ((glyph if middle else " ").rjust((across + 1) // 2).ljust(across), style)


def _line_width(line: Line) -> int:
    return sum(cell_len(text) for text, _ in line)


def _beside(left: list[Line], right: list[Line], width: int) -> list[Line]:
    rows = []
    for index in range(max(len(left), len(right))):
        piece = left[index] if index < len(left) else []
        words = right[index] if index < len(right) else []
        rows.append([*piece, (" " * (width - _line_width(piece) + 3), ""), *words])
    return rows


def _last_acted(view: EpisodeView) -> Turn:
    return next((turn for turn in reversed(view.transcript) if turn.observation is not None), view.transcript[0])
