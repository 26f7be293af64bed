"""The real program in a pseudo-terminal: what a person sees and what their keys do."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
from fake_run import finished_run

from agentrm_tui.runs.store import RunWriter
from agentrm_tui.ui.actions import SCREENS
from agentrm_tui.ui.choices import Choices, save_choices

pytestmark = pytest.mark.terminal
PATIENCE = 120.0
"""Seconds for one picture: machines that test are often busy, and nothing waits longer than it must."""
PLUGIN = Path(__file__).parent / "plugin"
SEQUENCES = {
    "space": " ",
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "shift+right": "\x1b[1;2C",
    "shift+left": "\x1b[1;2D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "ctrl+p": "\x10",
    "ctrl+s": "\x13",
    "f1": "\x1bOP",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "question_mark": "?",
}
"""What a terminal sends for keys that are no single character."""
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
            "FAKE_SLOW_PIPE": str(folder / "pipe"),
            "PYTHONPATH": os.pathsep.join((str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")]))),
        }
        for name in ("NO_COLOR", "COLUMNS", "LINES"):  # whoever runs the tests may have set them for its own terminal
            environment.pop(name, None)
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

    def press(self, key: str) -> None:
        self.child.send(SEQUENCES.get(key, key))

    def type(self, text: str) -> None:
        self.child.send(text)

    def engine(self) -> int:
        """The process id of the engine that the program started."""
        threads = Path(f"/proc/{self.child.pid}/task").iterdir()
        children = [pid for thread in threads for pid in (thread / "children").read_text().split()]
        (engine,) = [pid for pid in children if b"agentrm_tui.engine" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return int(engine)

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


MAZE = ("maze", "--task", "maze-5:7", "--policy", "scripted", "--reward", "random", "--beam", "2x3", "--paused")


def test_every_documented_key_is_pressed_here() -> None:
    pressed = set(re.findall(r"press\(\"(.+?)\"\)", Path(__file__).read_text()))
    assert {action.key for keys in SCREENS.values() for action in keys.actions} - pressed == set()


def test_every_key_of_a_recording(terminal: Callable[..., FakeTerminal], run_file: Path) -> None:
    screen = terminal("replay", str(run_file))
    screen.wait(f"event {EVENTS}/{EVENTS}")
    screen.press("home")
    screen.wait(f"event 0/{EVENTS}")
    screen.press("right")
    screen.wait(f"event 1/{EVENTS}")
    screen.press("left")
    screen.wait(f"event 0/{EVENTS}")
    screen.press("shift+right")
    screen.wait("Candidates · step 1")
    screen.press("shift+right")
    screen.wait("Candidates · step 2")
    screen.press("shift+left")
    screen.wait("Candidates · step 1")
    screen.press("right_square_bracket")
    screen.wait("9000001")
    screen.press("left_square_bracket")
    screen.wait("9000000")
    screen.press("full_stop")
    screen.wait("2×")
    screen.press("comma")
    screen.wait("1×")
    screen.press("end")
    screen.wait(f"event {EVENTS}/{EVENTS}")
    screen.press("space")
    screen.wait("▶ playing")
    screen.press("space")
    screen.wait("‖ replay")
    screen.press("q")
    assert screen.ended() == 0


def test_every_key_that_changes_the_view(terminal: Callable[..., FakeTerminal], run_file: Path) -> None:
    screen = terminal("replay", str(run_file))
    screen.wait(f"event {EVENTS}/{EVENTS}")
    screen.press("1")
    screen.wait("─ Search map")
    screen.press("v")
    screen.wait("─ Search tree")
    screen.press("6")
    screen.wait("─ Search tree")
    screen.press("3")
    screen.wait("─ Transcript")
    screen.press("4")
    screen.wait("─ Goal & picture")
    screen.press("5")
    screen.wait("─ Value over steps")
    screen.press("2")
    screen.wait("─ Candidates")
    screen.press("tab")
    screen.wait("─ Transcript")
    screen.press("shift+tab")
    screen.wait("─ Candidates")
    screen.press("enter")
    screen.press("3")
    screen.wait("selected path")
    screen.press("t")  # nothing was reasoned in this run, so nothing unfolds
    screen.press("escape")
    screen.wait("best path")
    screen.press("c")
    screen.wait("Copied step")
    screen.press("question_mark")
    screen.wait("─ Help")
    screen.press("escape")
    screen.wait(lambda text: "─ Help" not in text)
    screen.press("ctrl+p")
    screen.wait("Search for commands")
    screen.press("escape")
    screen.wait(lambda text: "Search for commands" not in text)
    screen.press("q")
    assert screen.ended() == 0


def test_all_panes_on_a_large_terminal(terminal: Callable[..., FakeTerminal], run_file: Path) -> None:
    screen = terminal("replay", str(run_file), size=(200, 60))
    for title in ("Goal & picture", "Candidates", "Search map", "Transcript", "Value over steps"):
        screen.wait(title)
    screen.wait(f"event {EVENTS}/{EVENTS}")
    screen.press("q")
    assert screen.ended() == 0


def test_a_live_run_from_the_first_key_to_the_last(terminal: Callable[..., FakeTerminal]) -> None:
    screen = terminal("play", *MAZE)
    screen.wait("next: propose")
    screen.press("n")
    screen.wait("next: score")
    screen.press("N")
    screen.wait(lambda text: "Candidates · step 1" in text and "paused" in text)
    screen.press("N")
    screen.wait(lambda text: "Candidates · step 2" in text and "paused" in text)
    screen.press("b")
    screen.wait("Back to step 1")
    screen.press("e")
    screen.wait("Your move after step")
    screen.type("wait here\r")
    screen.wait("Your move comes")
    for _ in range(2):
        screen.wait("paused")
        screen.press("n")
    screen.wait("✎")
    screen.press("space")
    screen.wait("episode ended")
    screen.press("b")
    screen.wait("space goes on")
    screen.wait("paused")
    screen.press("q")
    screen.wait("End the run")
    screen.press("y")
    assert screen.ended() == 0


def test_a_cut_candidate_is_kept_and_forked(terminal: Callable[..., FakeTerminal]) -> None:
    screen = terminal("play", *MAZE)
    screen.wait("next: propose")
    screen.press("N")
    screen.wait(lambda text: "Candidates · step 1" in text and "paused" in text)
    step = 1
    while "✗" not in screen.text:
        step += 1
        screen.press("N")
        screen.wait(lambda text, step=step: f"step {step}" in text and "paused" in text)
    for _ in range(6):
        screen.press("down")
    screen.wait("▸✗")
    screen.press("enter")
    screen.wait("u Uncut")
    screen.press("u")
    screen.wait(lambda text: "▸●" in text and "next: act" in text)
    screen.press("f")
    screen.wait("episode 2/2")
    screen.press("left_square_bracket")
    screen.wait("episode 1/2")
    screen.press("q")
    screen.wait("End the run")
    screen.press("n")
    screen.wait(lambda text: "End the run" not in text)
    screen.press("q")
    screen.wait("End the run")
    screen.press("y")
    assert screen.ended() == 0


def test_a_killed_engine_is_started_again_on_its_file(terminal: Callable[..., FakeTerminal]) -> None:
    screen = terminal("play", *MAZE)
    screen.wait("next: propose")
    screen.press("N")
    screen.wait(lambda text: "Candidates · step 1" in text and "paused" in text)
    os.kill(screen.engine(), signal.SIGKILL)
    screen.wait("engine stopped")
    assert "r starts it again" in screen.text
    screen.press("r")
    screen.wait("paused")
    assert "Candidates · step 1" in screen.text
    screen.press("N")
    screen.wait("Candidates · step 2")
    screen.press("space")
    screen.wait("episode ended")
    screen.press("space")
    screen.wait("the run ends")
    screen.press("home")
    screen.wait("event 0/")
    screen.press("q")
    assert screen.ended() == 0


def test_keys_are_answered_while_models_load(terminal: Callable[..., FakeTerminal], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    screen = terminal("play", "slow-maze", *MAZE[1:])
    screen.wait(lambda text: re.search(r"loading  environment slow-maze · [1-9]\.\d s", text) is not None)
    screen.press("question_mark")
    screen.wait("─ Help")
    screen.press("escape")
    screen.wait(lambda text: "─ Help" not in text)
    screen.press("3")
    screen.wait("─ Transcript")
    screen.press("2")
    screen.wait("─ Candidates")
    (tmp_path / "pipe").write_bytes(b"")
    screen.wait("next: propose")
    screen.press("q")
    screen.press("y")
    assert screen.ended() == 0


def test_the_launcher_opens_and_starts_a_run(terminal: Callable[..., FakeTerminal], tmp_path: Path) -> None:
    scripted = Choices(environment="maze", policy="scripted", reward="random")
    save_choices(tmp_path / "config" / "launcher.json", scripted)
    screen = terminal()
    screen.wait("New run")
    screen.wait("Start paused")
    screen.press("f1")
    screen.wait("Start the run that is filled in")
    screen.press("escape")
    screen.wait("New run")
    screen.press("down")
    screen.wait("n steps, space goes on")
    screen.press("up")
    screen.wait("ctrl+s starts from any field")
    screen.press("ctrl+s")
    screen.wait("Candidates")
    screen.wait("episode ended")
    screen.press("q")
    screen.wait("score")
    screen.wait("New run")
    screen.press("escape")
    assert screen.ended() == 0
