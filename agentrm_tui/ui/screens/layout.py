"""The layout classes of a screen's size, worn before its widgets are styled for the first time."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen


def wear_layout(screen: Screen[Any]) -> None:
    """Set the classes that the first resize would set; changing them then would style every widget a second time."""
    size = screen.app.size
    for cells, breakpoints in ((size.width, screen.HORIZONTAL_BREAKPOINTS), (size.height, screen.VERTICAL_BREAKPOINTS)):
        fitting = [name for least, name in breakpoints or () if cells >= least]
        if fitting:
            screen.add_class(fitting[-1], update=False)
