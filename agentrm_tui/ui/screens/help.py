"""Help for the focused pane, what was said about the run, and all keys, from the action registry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from agentrm_models.terminal_text import clean
from agentrm_tui.terminal_text import fit, wrap
from agentrm_tui.ui.keys.action import ScreenActions
from agentrm_tui.ui.widgets.pane import Line, styled_lines

_WIDTH = 100


class HelpScreen(ModalScreen[None]):
    """Any of `?`, escape, enter and q closes it.

    Args:
        keys: The actions of the screen that is explained.
        facts: What decides which of them apply now.
        pane: The focused pane, for screens that have some.
        notices: What models, environment and runner said about this run, oldest first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "close", "Close"),
    ]

    def __init__(self, keys: ScreenActions, facts: object, pane: str = "", notices: Sequence[str] = ()) -> None:
        super().__init__()
        self._keys, self._facts, self._pane, self._notices = keys, facts, pane, notices

    def compose(self) -> ComposeResult:
        """Pane first, then notices, then the keys by group."""
        width = max(24, min(_WIDTH, self.app.size.width * 9 // 10) - 8)
        box = VerticalScroll(Static(self._text(width), markup=False), classes="dialog wide")
        box.border_title = "Help"
        box.border_subtitle = "esc closes · ↑ ↓ scroll"
        yield box

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one(VerticalScroll).focus()

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)

    def _text(self, width: int) -> Content:
        lines = self._about_pane(width)
        if self._notices:
            lines += [[], [("Notices", "bold $accent")]]
            lines += [[(line, "$warning")] for notice in self._notices for line in wrap(clean(notice), width)]
        order = sorted(self._keys.actions, key=lambda action: self._keys.groups.index(action.group))
        for group, actions in groupby(order, key=lambda action: action.group):
            lines += [[], [(group, "bold $accent")]]
            for action in actions:
                lines += _entry(action.key_label, action.description, width, action.applies(self._facts))
        lines += [[], [("Greyed keys do not apply now. ctrl+p searches what does.", "$foreground 62%")]]
        return styled_lines(lines if self._pane in self._keys.panes else lines[1:])

    def _about_pane(self, width: int) -> list[Line]:
        pane = self._keys.panes.get(self._pane)
        if pane is None:
            return []
        lines: list[Line] = [[(pane.title, "bold $accent")], *([(line, "")] for line in wrap(pane.text, width))]
        for sign, meaning in pane.signs:
            lines += _entry(sign, meaning, width, True)
        return lines


def _entry(sign: str, meaning: str, width: int, now: bool) -> list[Line]:
    """A key or sign and what it means, with a hanging indent."""
    return [
        [
            (fit(sign if not number else "", 12), "bold" if now else "$foreground 40%"),
            (line, "" if now else "$foreground 40%"),
        ]
        for number, line in enumerate(wrap(meaning, width - 12))
    ]
