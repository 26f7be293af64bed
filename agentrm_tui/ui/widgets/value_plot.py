"""Value over steps: the path's own values, the best alternatives, and the regret between them."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from agentrm_tui.terminal_text import clip, number, wrap
from agentrm_tui.ui.views import EpisodeView, StepValue, ValueRange
from agentrm_tui.ui.widgets.pane import Line, Pane, quiet

_QUIET = "$foreground 62%"
_LEAST = 0.005
"""Regret from which on it is not written as 0.00."""
_OWN, _OTHER, _BOTH = "●", "○", "◉"


class ValuePlot(Pane):
    """A small plot that fills its pane."""

    TITLE: ClassVar[str] = "Value over steps"
    values: tuple[StepValue, ...] = ()
    scale: ValueRange = ValueRange()

    judged: bool = True

    def show(self, view: EpisodeView | None, judged: bool) -> None:
        """Plot the values of a view; `judged` tells whether this search has any."""
        if judged != self.judged:
            self.judged = judged
            self.redraw()
        values = view.values if view is not None else ()
        scale = view.scale if view is not None else ValueRange()
        if (values, scale) == (self.values, self.scale) and values:
            return
        self.values, self.scale = values, scale
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Axis, plot and legend."""
        if not any(step.value is not None for step in self.values):
            words = "The reward model's value of each step on the path appears here."
            if not self.judged:
                words = "Greedy search follows the policy alone: nothing is judged, so there are no values."
            return quiet("\n".join(wrap(words, width)))
        rows, label = max(3, height - 3), 5
        grid = plot(self.values, self.scale, max(8, width - label - 1), rows)
        middle = (self.scale.low + self.scale.high) / 2
        labels = {0: self.scale.high, rows // 2: middle, rows - 1: self.scale.low}
        lines: list[Line] = []
        for index, row in enumerate(grid):
            name = number(labels[index], 2) if index in labels else ""
            lines.append([(f"{name:>{label}}", _QUIET), ("┤" if name else "│", "$foreground 30%"), *row])
        lines.append([(" " * label + "└" + "─" * max(0, width - label - 1), "$foreground 30%")])
        lines.append(_steps(self.values, width - label - 1, label + 1))
        lines.append(_legend(self.values, width))
        return lines


def plot(values: tuple[StepValue, ...], scale: ValueRange, width: int, height: int) -> list[Line]:
    """Draw a stepped line through the path's values with marks on it, and marks for the best others."""
    canvas = [[(" ", "")] * width for _ in range(height)]
    own = [
        (_column(index, len(values), width), _row(scale, step.value, height))
        for index, step in enumerate(values)
        if step.value is not None
    ]
    for start, end in pairwise(own):
        _draw_step(canvas, start, end)
    others = {
        (_column(index, len(values), width), _row(scale, step.best_other, height))
        for index, step in enumerate(values)
        if step.best_other is not None
    }
    for column, row in sorted(others):
        canvas[row][column] = (_OTHER, _QUIET)
    for column, row in own:
        canvas[row][column] = (_BOTH if (column, row) in others else _OWN, "bold $accent")
    return [_joined(row) for row in canvas]


def _column(index: int, steps: int, width: int) -> int:
    return round(index * (width - 2) / (steps - 1)) if steps > 1 else width // 2


def _row(scale: ValueRange, value: float, height: int) -> int:
    return round((1 - scale.share(value)) * (height - 1))


def _draw_step(canvas: list[Line], start: tuple[int, int], end: tuple[int, int]) -> None:
    """Go level to the middle, up or down there, and level on: box characters that every terminal has."""
    (left, top), (right, bottom) = start, end
    middle = (left + right) // 2
    for column in range(left, right + 1):
        canvas[top if column < middle else bottom][column] = ("─", "$primary")
    if top == bottom or left == right:
        return
    falls = bottom > top
    for row in range(min(top, bottom) + 1, max(top, bottom)):
        canvas[row][middle] = ("│", "$primary")
    canvas[top][middle] = ("╮" if falls else "╯", "$primary")
    canvas[bottom][middle] = ("╰" if falls else "╭", "$primary")


def _joined(pieces: list[tuple[str, str]]) -> Line:
    """Join neighbours of one style, so that a line has few spans."""
    line: Line = []
    for text, style in pieces:
        if line and line[-1][1] == style:
            line[-1] = (line[-1][0] + text, style)
        else:
            line.append((text, style))
    return line


def _steps(values: tuple[StepValue, ...], width: int, margin: int) -> Line:
    """Step numbers under the plot, as many as have room."""
    row = [" "] * (width + 3)
    free = 0
    for index, step in enumerate(values):
        column = _column(index, len(values), width)
        text = str(step.step)
        if column >= free and column + len(text) <= width:
            row[column : column + len(text)] = text
            free = column + len(text) + 2
    return [(" " * margin + "".join(row[:width]), _QUIET)]


def _legend(values: tuple[StepValue, ...], width: int) -> Line:
    worst = max(values, key=lambda step: step.regret)
    other, regret = " best other  ", "no regret"
    if worst.regret >= _LEAST:
        regret = f"largest regret {number(worst.regret)} at step {worst.step}"
        if len(regret) + 22 > width:
            other, regret = " other  ", f"regret {number(worst.regret)} @{worst.step}"
    rest = clip(regret, width - len(other) - 9)
    return [(_OWN, "bold $accent"), (" path  ", ""), (_OTHER, _QUIET), (other, ""), (rest, _QUIET)]
