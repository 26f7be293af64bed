"""One scale of colours from the worst value to the best, made of the theme: further from the background is better.

Its lightness rises all the way, so that it is read without telling hues apart. Terminals of sixteen colours get four
steps of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.color import Color

STEPS = 12
"""Colours of the scale."""
_STOPS = ("secondary", "success", "warning")
_FAINTEST = 0.15
"""Where on the way from the background over these the worst value stands."""
_ANSI = ("ansi_blue", "ansi_cyan", "ansi_green", "ansi_yellow")
_CUT = 0.62
"""How far the colour of a cut node lies on the way to the background."""


class ColourScale:
    """Styles for cells, by the share of a value between the worst and the best.

    Args:
        variables: The theme's variables; `background`, `secondary`, `success` and `warning` are used.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        background = Color.parse(variables["background"])
        stops = [background, *(Color.parse(variables[name]) for name in _STOPS)]
        if any(colour.ansi is not None for colour in stops):
            self._kept, self._cut = [f"ansi_black on {name}" for name in _ANSI], list(_ANSI)
            self.unknown = "ansi_black on ansi_white"
            self._swatches = list(_ANSI)
            return
        colours = [_between(stops, _FAINTEST + (1 - _FAINTEST) * step / (STEPS - 1)) for step in range(STEPS)]
        self._swatches = [colour.hex for colour in colours]
        self._kept = [_readable(colour) for colour in colours]
        self._cut = [_readable(colour.blend(background, _CUT)) for colour in colours]
        self.unknown = _readable(background.blend(Color.parse(variables["foreground"]), 0.25))

    def style(self, share: float | None, cut: bool = False) -> str:
        """The style of a cell; None is a value that nobody knows."""
        if share is None:
            return "$foreground 55%" if cut else self.unknown
        styles = self._cut if cut else self._kept
        return styles[min(len(styles) - 1, int(share * len(styles)))]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """The colours in order, as pieces of a line."""
        return [("▆", colour) for colour in self._swatches]


def _readable(background: Color) -> str:
    """Black or white on a colour, whichever has the higher contrast (WCAG 2): at least 4.58."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in background.normalized]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    text = "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"
    return f"{text} on {background.hex}"


def _between(stops: Sequence[Color], share: float) -> Color:
    """The colour at a share of the way along the stops."""
    way = share * (len(stops) - 1)
    before = min(int(way), len(stops) - 2)
    return stops[before].blend(stops[before + 1], way - before)
