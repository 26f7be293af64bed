"""Help for the focused pane, and all keys, from the action registry."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from agentrm_tui.terminal_text import fit, wrap
from agentrm_tui.ui.actions import ACTIONS, GROUPS, PANE_HELP
from agentrm_tui.ui.session import Facts
from agentrm_tui.ui.widgets.pane import Line, styled_lines

_WIDTH = 100


class HelpScreen(ModalScreen[None]):
    """Any of `?`, escape, enter and q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "close", "Close"),
    ]

    def __init__(self, pane: str, facts: Facts) -> None:
        super().__init__()
        self._pane, self._facts = pane, facts

    def compose(self) -> ComposeResult:
        """Pane first, then the keys by group."""
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
        pane = PANE_HELP[self._pane]
        lines: list[Line] = [[(pane.title, "bold $accent")], *([(line, "")] for line in wrap(pane.text, width))]
        for sign, meaning in pane.signs:
            lines += _entry(sign, meaning, width, True)
        order = sorted(ACTIONS, key=lambda action: GROUPS.index(action.group))
        for group, actions in groupby(order, key=lambda action: action.group):
            lines += [[], [(group, "bold $accent")]]
            for action in actions:
                lines += _entry(action.key_label, action.description, width, action.applies(self._facts))
        lines += [[], [("Greyed keys do not apply now. ctrl+p searches what does.", "$foreground 62%")]]
        return styled_lines(lines)


def _entry(sign: str, meaning: str, width: int, now: bool) -> list[Line]:
    """A key or sign and what it means, with a hanging indent."""
    return [
        [
            (fit(sign if not number else "", 12), "bold" if now else "$foreground 40%"),
            (line, "" if now else "$foreground 40%"),
        ]
        for number, line in enumerate(wrap(meaning, width - 12))
    ]
