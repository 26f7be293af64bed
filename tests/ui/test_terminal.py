"""The real program in a pseudo-terminal: what a person sees and what their keys do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
from fake_run import finished_run

from agentrm_tui.runs.store import RunWriter

pytestmark = pytest.mark.terminal
PATIENCE = 30.0
EVENTS = len(finished_run(tasks=2))


class FakeTerminal:
    """A terminal emulator with a program in it."""

    def __init__(self, arguments: list[str], size: tuple[int, int], folder: Path) -> None:
        self.screen = pyte.Screen(*size)
        self.stream = pyte.ByteStream(self.screen)
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "AGENTRM_RUNS": str(folder / "runs"),
            "AGENTRM_CONFIG": str(folder / "config"),
        }
        environment.pop("NO_COLOR", None)
        self.child = pexpect.spawn(
            sys.executable, ["-m", "agentrm_tui", *arguments], dimensions=(size[1], size[0]), env=environment, timeout=1
        )

    def wait(self, what: str | Callable[[str], bool]) -> str:
        """Read until the screen shows it."""
        holds = what if callable(what) else lambda text: what in text
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.stream.feed(self.child.read_nonblocking(65_536, timeout=0.2))
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                break
            if holds(self.text):
                return self.text
        raise AssertionError(f"the screen never showed {what!r}:\n{self.text}")

    def press(self, keys: str) -> None:
        self.child.send(keys)

    def ended(self) -> int | None:
        self.child.expect(pexpect.EOF, timeout=PATIENCE)
        self.child.close()
        return self.child.exitstatus

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., FakeTerminal]]:
    opened: list[FakeTerminal] = []

    def start(*arguments: str, size: tuple[int, int] = (80, 24)) -> FakeTerminal:
        opened.append(FakeTerminal(list(arguments), size, tmp_path))
        return opened[-1]

    yield start
    for item in opened:
        item.child.close(force=True)


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path)
    for event in finished_run(tasks=2):
        writer.append(event)
    writer.close()
    return path


def test_every_key_of_a_recording(terminal: Callable[..., FakeTerminal], run_file: Path) -> None:
    screen = terminal("replay", str(run_file))
    screen.wait(f"event {EVENTS}/{EVENTS}")
    screen.press("\x1b[H")
    screen.wait(f"event 0/{EVENTS}")
    screen.press("\x1b[C")
    screen.wait(f"event 1/{EVENTS}")
    screen.press("\x1b[1;2C")
    screen.wait(lambda text: "Candidates · step 1" in text)
    screen.press("]")
    screen.wait("9000001")
    screen.press("[")
    screen.wait("9000000")
    screen.press(".")
    screen.wait("2×")
    screen.press(",")
    screen.wait("1×")
    for key, title in (
        ("2", "Search tree"),
        ("3", "Transcript"),
        ("4", "Goal & picture"),
        ("5", "Value over steps"),
        ("1", "Candidates"),
    ):
        screen.press(key)
        screen.wait(lambda text, title=title: f"─ {title}" in text)
    screen.press("\t")
    screen.wait("─ Search tree")
    screen.press("?")
    screen.wait("─ Help")
    screen.press("\x1b")
    screen.wait(lambda text: "─ Help" not in text)
    screen.press("\x10")
    screen.wait("Search for commands")
    screen.press("\x1b")
    screen.wait(lambda text: "Search for commands" not in text)
    screen.press("\x1b[F")
    screen.wait(f"event {EVENTS}/{EVENTS}")
    screen.press(" ")
    screen.wait("▶ playing")
    screen.press(" ")
    screen.wait("‖ replay")
    screen.press("q")
    assert screen.ended() == 0


def test_all_panes_on_a_large_terminal(terminal: Callable[..., FakeTerminal], run_file: Path) -> None:
    screen = terminal("replay", str(run_file), size=(200, 60))
    text = screen.wait(f"event {EVENTS}/{EVENTS}")
    for title in ("Goal & picture", "Candidates", "Search tree", "Transcript", "Value over steps"):
        assert title in text
    screen.press("q")
    assert screen.ended() == 0


def test_a_live_run_from_the_first_key_to_the_last(terminal: Callable[..., FakeTerminal]) -> None:
    screen = terminal(
        "play", "maze", "--task", "maze-5:7", "--policy", "scripted", "--reward", "random", "--beam", "2x3", "--paused"
    )
    screen.wait("next: propose")
    screen.press("n")
    screen.wait("next: score")
    screen.press("N")
    screen.wait(lambda text: "Candidates · step 1" in text and "paused" in text)
    screen.press("N")
    screen.wait("Candidates · step 2")
    screen.press("b")
    screen.wait("Back to step 1")
    screen.press("e")
    screen.wait("Your move after step")
    screen.press("wait here\r")
    screen.wait("Your move comes")
    for _ in range(2):
        screen.wait("paused")
        screen.press("n")
    screen.wait("✎")
    screen.press("f")
    screen.wait("episode 2/2")
    screen.press("q")
    screen.wait("End the run")
    screen.press("y")
    assert screen.ended() == 0


def test_the_launcher_opens_and_starts_a_run(terminal: Callable[..., FakeTerminal]) -> None:
    screen = terminal()
    screen.wait("New run")
    screen.wait("Start paused")
    screen.press("\r")
    screen.wait("Candidates")
    screen.press("q")
    screen.wait(lambda text: "End the run" in text or "New run" in text)
    if "End the run" in screen.text:
        screen.press("y")
    screen.wait("New run")
    screen.press("\x1b")
    assert screen.ended() == 0
