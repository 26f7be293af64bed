"""Text from models and environments never moves the cursor, styles the screen or breaks the layout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_run import FakeRun, surroundings
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App

from agentrm_models.replies import format_reply
from agentrm_models.terminal_text import SHOWN_CHARACTERS, clean, one_line
from agentrm_tui.runs import events as ev
from agentrm_tui.terminal_text import bar, clip, count, duration, fit, wrap
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.widgets.bars import PANES

HOSTILE = (
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "[red]markup[/red] [@click=app.quit]here[/] [/] [not a tag",
    "\u202eright to left\u202c zero\u200bwidth \u2066iso\u2069",
    "表意文字の幅は二つ分です" * 30,
    "Z̷̢̛͙̘̪͚̦̙͓͒̈́̈́a̷̡̛͙̘̪͚l̷g̷o",
    "a\tb\rc\x08\x08\x0b\x0c\x00 \x9b31m",
    "x" * 1_000_000,
    "word " * 200_000,
    "\n" * 50_000,
    "👩‍👩‍👧‍👦 👍🏽 🇩🇪",
)


def hostile_run(text: str) -> list[ev.AnyEvent]:
    run = FakeRun().load().start_episode(goal=text)
    run.episode = "e0"
    nodes = tuple(
        ev.ProposedNode(node=f"0.{n}", parent="0", reply=reply, log_probability=-1.0, tokens=9)
        for n, reply in enumerate((format_reply(text, text), text, format_reply("", "move up")))
    )
    run.add(ev.Proposed(episode="e0", asked=("0",), nodes=nodes))
    run.score(["0.0", "0.1", "0.2"], [0.9, float("nan"), float("inf")])
    run.add(ev.Pruned(episode="e0", nodes=("0.1", "0.2"), why=text, margins=(float("nan"), -0.1)))
    picture = f"{text}\n{text}\nwww\n..."
    run.add(ev.Acted(episode="e0", nodes=(ev.ActedNode(node="0.0", observation=text, outcome=0.5, picture=picture),)))
    run.add(ev.Truncated(episode="e0", what="policy", dropped=3))
    run.add(ev.Fault(episode="e0", message=text, remedy=text))
    return run.events


def screen_lines(app: App[int]) -> list[str]:
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])
async def test_hostile_text_stays_text(text: str, size: tuple[int, int]) -> None:
    app = AgentRMApp(surroundings(hostile_run(text)), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        for number in range(1, len(PANES) + 1):
            await pilot.press(str(number))
            lines = screen_lines(app)
            assert len(lines) == size[1]
            assert {cell_len(line) for line in lines} == {size[0]}
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069]", "".join(lines))
    assert app.return_value is None


async def test_markup_is_shown_as_it_is() -> None:
    app = AgentRMApp(surroundings(hostile_run("[red]markup[/red] [b]")), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert sum("[red]markup[/red]" in line for line in screen_lines(app)) >= 4


@given(st.text(max_size=300), st.integers(1, 40))
def test_lines_never_exceed_their_cells(text: str, width: int) -> None:
    assert cell_len(fit(one_line(text), width)) == width
    assert cell_len(clip(one_line(text), width)) <= width
    assert all(cell_len(line) <= max(2, width) for line in wrap(clean(text), width))


@given(st.text(max_size=300))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert "\x1b" not in clean(text)


def test_wrapping_keeps_the_words() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    assert " ".join(wrap(text, 10)) == text
    assert wrap("a\n\nb", 10) == ["a", "", "b"]
    assert "".join(wrap("x" * 25, 10)) == "x" * 25


def test_long_texts_say_what_is_missing() -> None:
    assert clean("y" * (SHOWN_CHARACTERS + 12)).endswith("… (12 more characters)")


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (999, "999"), (1234, "1.2k"), (34_000, "34k"), (5_600_000, "5.6M")]
)
def test_counts(value: int, shown: str) -> None:
    assert count(value) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0.44, "0.4 s"), (12, "12 s"), (185, "3:05"), (3723, "1:02:03")])
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_bars() -> None:
    assert bar(0, 4) == "    "
    assert bar(0.5, 4) == "██  "
    assert bar(1.7, 4) == "████"
    assert bar(0.125, 1) == "▏"
