"""The keys of the launcher."""

from __future__ import annotations

from agentrm_tui.ui.keys.action import Action, ScreenActions

LAUNCHER = ScreenActions(
    "launcher",
    "The launcher",
    ("Run", "Form"),
    (
        Action("start", "ctrl+s", "Start", "Start the run that is filled in, from any field.", footer=True),
        Action("app.focus_next", "tab", "Next", "Go to the next field.", footer=True, group="Form", by_name=False),
        Action("app.focus_next", "down", "Next", "Go to the next field.", group="Form", by_name=False),
        Action("app.focus_previous", "up", "Before", "Go to the field before.", group="Form", by_name=False),
        Action("app.command_palette", "ctrl+p", "Commands", "Search what can be done.", footer=True, by_name=False),
        Action("app.help", "f1", "Help", "List the keys.", footer=True),
        Action("quit", "escape", "Quit", "Leave the program.", footer=True),
    ),
)
