"""Synthetic runs for tests of the screen: realistic beam search in a small maze, without any model."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from agentrm_models.load_options import LoadOptions
from agentrm_models.replies import format_reply
from agentrm_models.usage import Usage
from agentrm_tui.engine.commands import Command, Status
from agentrm_tui.environments.base import Cell, Picture
from agentrm_tui.environments.pictures import encode_picture
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import settings_of
from agentrm_tui.ui.catalog import Offer
from agentrm_tui.ui.session import Surroundings

MAZE = (
    "█████████████",
    "█   █       █",
    "█ █ █ █████ █",
    "█ █   █   █ █",
    "█ █████ █ █ █",
    "█       █  G█",
    "█████████████",
)
WAY = [(1, 1), (3, 1), (5, 1), (5, 3), (5, 5), (7, 5), (7, 3), (9, 3), (9, 5), (11, 5)]
"""Cells (x, y) of a walk from the start to the goal, as far as pictures of these tests are concerned."""
ACTIONS = ("move up", "move down", "move left", "move right")
THOUGHTS = (
    "The goal is to the right, so I should keep going right.",
    "There is a wall ahead; going down leads around it.",
    "I have been here before, try the other way.",
    "Down is open and brings me closer to the goal.",
)


def maze_picture(step: int) -> str:
    """The maze with the agent at a step of the walk."""
    agent = WAY[min(step, len(WAY) - 1)]

    def cell(x: int, y: int, glyph: str) -> Cell:
        if (x, y) == agent:
            return Cell("@", "agent")
        if glyph == "G":
            return Cell("G", "goal")
        return Cell("█", "wall") if glyph == "█" else Cell(" ", "floor")

    rows = tuple(tuple(cell(x, y, glyph) for x, glyph in enumerate(row)) for y, row in enumerate(MAZE))
    return encode_picture(Picture(rows, f"step {step}/30"))


class FakeRun:
    """Builds events in order, with a clock of its own."""

    def __init__(self, algorithm: str = "beam", tasks: int = 1) -> None:
        self.events: list[ev.AnyEvent] = []
        self.clock = 0.0
        self.noise = random.Random(7)
        self.episode = ""
        self.add(
            ev.RunStarted(
                run="fake",
                started_at="2026-01-01T00:00:00Z",
                plan=RunPlan(
                    environment="maze",
                    tasks=tuple(f"maze-6:{9_000_000 + task}" for task in range(tasks)),
                    policy="bundled:small",
                    reward="bundled:small",
                    search=settings_of(algorithm, {}),
                    load=LoadOptions(threads=2),
                ),
                origin="compatible",
                build="0.1.0",
            )
        )

    def add(self, event: ev.AnyEvent, seconds: float = 0.2) -> int:
        """Append an event and return its number."""
        self.clock += seconds
        self.events.append(msgspec.structs.replace(event, at=round(self.clock, 3)))
        return len(self.events) - 1

    def load(self, notice: str = "") -> FakeRun:
        """Models were loaded; the policy's loader has something to say."""
        self.add(ev.ModelLoading(what="policy", name="bundled:small", milliseconds=640, notice=notice), 0.4)
        self.add(ev.ModelLoading(what="reward", name="bundled:small", milliseconds=640), 0.4)
        return self

    def start_episode(self, number: int = 0, goal: str = "Reach the goal at position 6, 3.") -> FakeRun:
        """Reset the environment."""
        self.episode = f"e{number}"
        self.add(
            ev.EpisodeStarted(
                episode=self.episode,
                task=f"maze-6:{9_000_000 + number}",
                goal=goal,
                observation="Your current position is at position 1, 1. There are walls above you, to your left.",
                step_limit=30,
                level="maze-6",
                picture=maze_picture(0),
            )
        )
        return self

    def propose(self, parents: list[str], each: int = 4, phase: str = "search") -> list[str]:
        """Every parent gets `each` children."""
        nodes = []
        for parent in parents:
            for ordinal in range(each):
                action = ACTIONS[(ordinal + len(parent)) % len(ACTIONS)]
                reply = format_reply(self.noise.choice(THOUGHTS), action)
                nodes.append(
                    ev.ProposedNode(
                        node=f"{parent}.{ordinal}",
                        parent=parent,
                        reply=reply,
                        log_probability=round(-self.noise.random() * 9 - 0.3, 3),
                        tokens=self.noise.randint(12, 24),
                        samples=2 if ordinal == 0 else 1,
                    )
                )
        usage = Usage(420 * len(parents), 418 * len(parents), 70 * len(parents), 1, 0, 310.0)
        self.add(
            ev.Proposed(episode=self.episode, asked=tuple(parents), nodes=tuple(nodes), phase=phase, usage=usage)  # type: ignore[arg-type]
        )
        return [node.node for node in nodes]

    def score(self, nodes: list[str], values: list[float]) -> None:
        """The reward model judges."""
        usage = Usage(60 * len(nodes), 58 * len(nodes), 0, 1, 0, 45.0)
        self.add(ev.Scored(episode=self.episode, groups=(tuple(nodes),), values=(tuple(values),), usage=usage))

    def prune(self, nodes: list[str], why: str = "beam") -> None:
        """The search cuts."""
        self.add(ev.Pruned(episode=self.episode, nodes=tuple(nodes), why=why))

    def act(self, nodes: list[str], step: int, done: bool = False) -> int:
        """The environment takes the actions."""
        acted = tuple(
            ev.ActedNode(
                node=node,
                observation=f"You moved. Your current position is at position {WAY[min(step, len(WAY) - 1)]}. "
                "There are walls to your left, to your right.",
                outcome=1.0 if done and index == 0 else round(min(0.9, step / 10), 2),
                done=done,
                picture=maze_picture(step),
            )
            for index, node in enumerate(nodes)
        )
        return self.add(ev.Acted(episode=self.episode, nodes=acted, env_steps=len(acted), milliseconds=4.0))

    def beam(self, steps: int = 6, width: int = 3, each: int = 4, finish: bool = True) -> FakeRun:
        """A step-level beam search."""
        beams = ["0"]
        for step in range(1, steps + 1):
            nodes = self.propose(beams, each)
            values = [round(min(0.98, 0.2 + 0.05 * step + self.noise.random() * 0.45), 3) for _ in nodes]
            self.score(nodes, values)
            order = sorted(zip(values, nodes, strict=True), reverse=True)
            beams, cut = [node for _, node in order[:width]], order[width:]
            last = order[min(width, len(order)) - 1][0]
            if cut:
                self.add(
                    ev.Pruned(
                        episode=self.episode,
                        nodes=tuple(node for _, node in cut),
                        why=f"outside the best {width}",
                        margins=tuple(round(value - last, 3) for value, _ in cut),
                    )
                )
            self.act(beams, step, done=finish and step == steps)
        if finish:
            self.add(ev.Chosen(episode=self.episode, node=beams[0], final=True))
            self.add(ev.EpisodeFinished(episode=self.episode, node=beams[0], outcome=1.0, steps=steps, done=True))
        return self

    def finish(self, score: float = 1.0) -> FakeRun:
        """The run ends."""
        self.add(ev.RunFinished(score_mean=score, scores=(score,), ledger=ev.Ledger(requests=3)))
        return self


def finished_run(tasks: int = 1) -> list[ev.AnyEvent]:
    """A whole run of beam search."""
    run = FakeRun(tasks=tasks).load()
    for number in range(tasks):
        run.start_episode(number).beam(steps=8)
    return run.finish().events


def running_run() -> list[ev.AnyEvent]:
    """A run in the middle of an episode."""
    return FakeRun().load().start_episode().beam(steps=5, finish=False).events


class FakeReader:
    """A run file in memory; `append` makes it grow."""

    def __init__(self, events: list[ev.AnyEvent]) -> None:
        self.fresh = list(events)
        self.polled: list[ev.AnyEvent] = []
        self.torn = ""
        self.behind = False
        self.share = 1.0

    def append(self, *events: ev.AnyEvent) -> None:
        self.fresh.extend(events)

    def poll(self) -> list[ev.AnyEvent]:
        fresh, self.fresh = self.fresh, []
        self.polled += fresh
        return fresh

    def place(self, number: int) -> str:
        return f"fake.jsonl, line {number + 1}"

    def size(self, number: int) -> int:
        return 100

    def read(self, number: int) -> ev.AnyEvent:
        return self.polled[number]

    @property
    def notice(self) -> str:
        return self.torn


class FakeClock:
    """Wall-clock seconds that only tests move."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeEngineLink:
    """Remembers what it was sent."""

    def __init__(self, status: Status | None = None, run_path: Path = Path("fake.jsonl")) -> None:
        self.run_path = run_path
        self.sent: list[Command] = []
        self.now = status
        self.alive = True
        self.closed = False
        self.notice = "the engine was ended by SIGKILL; its log fake.log is empty"

    def send(self, command: Command) -> None:
        self.sent.append(command)

    def status(self) -> Status | None:
        return self.now

    def exit_notice(self) -> str:
        return "" if self.alive else self.notice

    def wait(self, seconds: float) -> bool:
        return not self.alive

    def close(self) -> None:
        self.closed = True
        self.alive = False


async def describe(name: str) -> Offer:
    """What the maze offers, without asking a child process."""
    levels = ("lmrl", "maze-4", "maze-5", "maze-6")
    return Offer(name, "Find the goal of a maze from its position and the walls around you.", levels, levels[1:])


def surroundings(
    events: list[ev.AnyEvent] | FakeReader,
    link: FakeEngineLink | None = None,
    folder: Path = Path("/dev/null/nothing"),  # not even root can make it
    clock: FakeClock | None = None,
) -> Surroundings:
    """All that the app needs from outside, faked."""
    reader = events if isinstance(events, FakeReader) else FakeReader(events)
    return Surroundings(
        open_run=lambda path: reader,
        start_engine=lambda plan, resume, paused, send_key: link or FakeEngineLink(),
        describe=describe,
        clock=clock or FakeClock(),
        runs_folder=folder,
        memory=folder / "launcher.json",
    )


def fake_plan() -> RunPlan:
    """A plan that fits the fake run."""
    return RunPlan(environment="maze", tasks=("maze-6:9000000",), policy="bundled:small", reward="bundled:small")
