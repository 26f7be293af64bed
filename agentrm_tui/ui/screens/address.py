"""Name an environment that the program did not come with: a file or a server."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from agentrm_tui.environments.registry import address_kinds

_EXAMPLES = {
    "agentgym": "agentgym:http://127.0.0.1:36001",
    "jericho": "jericho:/path/to/story.z5",
    "openenv": "openenv:http://127.0.0.1:8000",
    "pddl": "pddl:/path/to/domain.pddl",
}
"""One address of each kind that comes with the program; other kinds are shown by name."""


class AddressScreen(ModalScreen[str | None]):
    """Answers with an address, or None when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel")]

    def compose(self) -> ComposeResult:
        """The kinds of address by example, and a field."""
        with Vertical(classes="dialog wide") as box:
            box.border_title = "An environment of yours"
            box.border_subtitle = "enter takes it · esc cancels"
            kinds = [_EXAMPLES.get(kind, f"{kind}:WHERE") for kind in address_kinds()]
            lines = ["A file, a server, or known things in other words:", *kinds, "household+rename-verbs", ""]
            yield Static("\n  ".join(lines), markup=False)
            yield Input(placeholder="KIND:WHERE or NAME+PERTURBATION", id="address", max_length=2_000)

    def on_mount(self) -> None:
        """The field is ready to be typed in."""
        entry = self.query_one(Input)
        entry.cursor_blink = False
        entry.focus()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        if address := event.value.strip():
            self.dismiss(address)

    def action_leave(self) -> None:
        """Name nothing."""
        self.dismiss(None)
