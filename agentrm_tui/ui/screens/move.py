"""Type or pick an own action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from agentrm_models.replies import ACTION_LIMIT, format_reply
from agentrm_models.terminal_text import clean, one_line


class MoveScreen(ModalScreen[str | None]):
    """Answers with a reply in the common format, or None when it was left.

    Args:
        step: Number of the step after which the move is made.
        observation: What was seen there.
        valid: Valid actions, where the environment offers them and the engine has told.
        proposed: What the policy proposed there; offered where the valid actions are not known.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Before", show=False),
    ]

    def __init__(self, step: int, observation: str, valid: Sequence[str], proposed: Sequence[str]) -> None:
        super().__init__()
        self._step, self._observation = step, observation
        self._actions = tuple(valid or proposed)
        self._note = "Valid actions" if valid else "What the policy proposed there" if proposed else ""

    def compose(self) -> ComposeResult:
        """Observation, action, thought, and the valid actions that match what is typed."""
        with Vertical(classes="dialog wide") as box:
            box.border_title = f"Your move after step {self._step}"
            box.border_subtitle = "enter plays · tab moves · esc cancels"
            yield Static(clean(self._observation, 600), markup=False, classes="seen")
            yield Static("Action", markup=False, classes="label")
            yield Input(placeholder="type an action, or pick one below", id="action", max_length=ACTION_LIMIT)
            yield Static(self._note, markup=False, classes="label", id="note")
            yield OptionList(*self._options(""), id="actions", markup=False)
            yield Static("Thought (may stay empty)", markup=False, classes="label")
            yield Input(placeholder="why", id="thought", max_length=ACTION_LIMIT)

    def on_mount(self) -> None:
        """Without any valid actions there is no list."""
        self.query_one("#note").display = bool(self._actions)
        self.query_one(OptionList).display = bool(self._actions)
        for entry in self.query(Input):
            entry.cursor_blink = False
        self.query_one(OptionList).highlighted = 0 if self._actions else None
        self.query_one("#action", Input).focus()

    @on(Input.Changed, "#action")
    def _typed(self, event: Input.Changed) -> None:
        listed = self.query_one(OptionList)
        listed.clear_options()
        listed.add_options(self._options(event.value))
        listed.highlighted = 0 if listed.option_count else None

    @on(Input.Submitted)
    def _entered(self) -> None:
        self._play(self.query_one("#action", Input).value)

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None:
            self._play(self._actions[int(event.option_id)])

    def action_leave(self) -> None:
        """Make no move."""
        self.dismiss(None)

    def _options(self, typed: str) -> list[Option]:
        wanted = typed.casefold().split()
        return [
            Option(Content(one_line(action)), id=str(number))
            for number, action in enumerate(self._actions)
            if all(word in action.casefold() for word in wanted)
        ]

    def _play(self, action: str) -> None:
        if action.strip():
            self.dismiss(format_reply(self.query_one("#thought", Input).value.strip(), action.strip()))
