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

from agentrm_tui.ui.actions import ACTIONS, PANE_HELP
from agentrm_tui.ui.session import Facts
from agentrm_tui.ui.text import fit


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
        title, text = PANE_HELP[self._pane]
        box = VerticalScroll(
            Static(Content.assemble((title, "bold $accent"), ("\n", ""), (text.replace("\n", "\n"), ""))),
            Static(self._keys(), classes="keys"),
            classes="dialog wide",
        )
        box.border_title = "Help"
        box.border_subtitle = "esc closes · ↑ ↓ scroll"
        yield box

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one(VerticalScroll).focus()

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)

    def _keys(self) -> Content:
        parts: list[tuple[str, str]] = []
        order = sorted(ACTIONS, key=lambda action: ("Run", "Recording", "View").index(action.group))
        for group, actions in groupby(order, key=lambda action: action.group):
            parts.append((f"\n{group}\n", "bold $accent"))
            for action in actions:
                now = action.applies(self._facts)
                parts.append((fit(action.key_label, 11), "bold" if now else "$foreground 40%"))
                parts.append((f"{action.description}\n", "" if now else "$foreground 40%"))
        parts.append(("\nGreyed keys do not apply now. ctrl+p searches what does.", "$foreground 62%"))
        return Content.assemble(*parts)
