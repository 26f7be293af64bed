"""Engines as real child processes; each is ended by the link that started it."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentrm_models.errors import DataError
from agentrm_tui.engine.commands import Fork, Override, Pause, Resume, Rewind, Status, Step, Stop, Unprune
from agentrm_tui.engine.link import EngineLink, log_path_of
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import settings_of
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import load_state, read_events

PLUGIN = Path(__file__).parent / "plugin"
DEADLINE = 30.0

Starter = Callable[..., EngineLink]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    """Starts engines that also know the fake environments; all are closed after the test."""
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN), prepend=os.pathsep)
    links: list[EngineLink] = []

    def start_one(
        plan: RunPlan,
        run_path: Path | None = None,
        paused: bool = False,
        resume: Path | None = None,
        wait_at_end: bool = False,
    ) -> EngineLink:
        path = None if resume else run_path or tmp_path / "run.jsonl"
        links.append(EngineLink.start(plan, path, paused, resume, wait_at_end))
        return links[-1]

    yield start_one
    for link in links:
        link.close(grace=1.0)
        assert not link.alive


def plan_of(environment: str, *tasks: str, algorithm: str = "greedy", policy: str = "scripted") -> RunPlan:
    reward = "" if algorithm == "greedy" else "random"
    return RunPlan(
        environment=environment, tasks=tasks, policy=policy, reward=reward, search=settings_of(algorithm, {})
    )


MAZE = plan_of("maze", "maze-4:3", algorithm="beam")


def wait_for(link: EngineLink, true: Callable[[], bool], interval: float = 0.02) -> None:
    """Look again at each word of the engine, and at least every `interval` seconds, until something is true."""
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, (link.status(), link.exit_notice(), link.log_tail())
        assert link.alive or true(), (link.exit_notice(), link.log_tail())
        select.select([link], [], [], interval)


def wait_for_phase(link: EngineLink, phase: str, since: float = 0.0) -> Status:
    """The first status of this phase that began after `since`."""

    def reached() -> bool:
        status = link.status()
        return status is not None and status.phase == phase and status.since > since

    wait_for(link, reached)
    status = link.status()
    assert status is not None
    return status


def next_pause(link: EngineLink, before: Status) -> Status:
    return wait_for_phase(link, "paused", before.since)


def ended(link: EngineLink) -> bool:
    return link.wait(DEADLINE)


def answers(path: Path) -> list[ev.AnyEvent]:
    """The events that answer requests."""
    kinds = ev.Proposed | ev.Scored | ev.Pruned | ev.Acted | ev.Chosen | ev.Backpropagated
    return [event for event in list(read_events(path)) if isinstance(event, kinds)]


def essence(state: RunState) -> dict[str, list[tuple[str, str, float | None, float | None, str]]]:
    """What a run came to, times and costs left aside."""
    return {
        name: [(node.id, node.reply, node.reward_value, node.outcome, node.pruned) for node in episode.tree]
        for name, episode in state.episodes.items()
    }


def kill_when_grown(link: EngineLink, size: int) -> bool:
    """Kill an engine once its run file has so many bytes; False if the run had ended before."""
    wait_for(link, lambda: not link.alive or link.run_path.stat().st_size >= size, interval=0.001)
    if link.alive:
        os.kill(link.pid, signal.SIGKILL)
    assert ended(link)
    assert link.exit_code in (0, -signal.SIGKILL), link.exit_notice()
    return link.exit_code != 0


def gone(pid: int, seconds: float) -> bool:
    """Whether a process that need not be our child ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def test_a_run_from_start_to_end(start: Starter) -> None:
    link = start(MAZE)
    assert ended(link)
    assert (link.exit_code, link.exit_notice()) == (0, "")
    status = link.status()
    assert status is not None and status.phase == "finished"
    state = load_state(link.run_path)
    assert state.finished is not None and state.finished.reason == "finished"
    assert [event.what for event in list(read_events(link.run_path)) if isinstance(event, ev.ModelLoading)] == [
        "environment",
        "policy",
        "reward",
    ]


def test_the_run_file_can_be_tailed_at_once(start: Starter) -> None:
    link = start(MAZE, paused=True)
    assert link.run_path.exists()
    wait_for_phase(link, "paused")
    assert load_state(link.run_path).current is not None


def test_pause_step_resume_stop(start: Starter) -> None:
    link = start(MAZE, paused=True)
    first = wait_for_phase(link, "paused")
    assert (first.request, first.nodes, first.episode) == ("propose", ("0",), "0")
    assert set(first.actions["0"]) <= {"move up", "move down", "move left", "move right"}
    assert answers(link.run_path) == []
    link.send(Step("request"))
    second = next_pause(link, first)
    assert second.request == "score"
    assert [type(event) for event in answers(link.run_path)] == [ev.Proposed]
    link.send(Step("environment"))
    next_pause(link, second)
    assert isinstance(answers(link.run_path)[-1], ev.Acted)
    link.send(Stop())
    assert ended(link)
    assert (link.exit_code, link.exit_notice()) == (0, "")
    finished = load_state(link.run_path).finished
    assert finished is not None and finished.reason == "stopped"


def test_a_running_search_pauses_and_goes_on(start: Starter) -> None:
    link = start(plan_of("counting", *(f"long:{seed}" for seed in range(30))))
    wait_for(link, lambda: link.run_path.stat().st_size > 10_000)
    link.send(Pause())
    wait_for_phase(link, "paused")
    size = link.run_path.stat().st_size
    select.select([link], [], [], 0.2)
    assert link.run_path.stat().st_size == size
    link.send(Resume())
    wait_for(link, lambda: link.run_path.stat().st_size > size)


def test_override_rewind_unprune_and_fork(start: Starter) -> None:
    link = start(MAZE, paused=True)
    status = wait_for_phase(link, "paused")
    link.send(Override("0", "Thought: mine\nAction: move up"))
    status = next_pause(link, status)
    tree = load_state(link.run_path).episodes["0"].tree
    assert [(node.action, node.source) for node in tree.children("0")] == [("move up", "human")]
    link.send(Rewind(to=tree.root.created))
    status = next_pause(link, status)
    episode = load_state(link.run_path).episodes["0"]
    assert len(episode.tree) == 1 and len(episode.abandoned) == 1
    while not (cut := [event for event in answers(link.run_path) if isinstance(event, ev.Pruned)]):
        link.send(Step())
        status = next_pause(link, status)
    link.send(Unprune(cut[0].nodes[0]))
    status = next_pause(link, status)
    assert load_state(link.run_path).episodes["0"].tree[cut[0].nodes[0]].pruned == ""
    link.send(Fork(to=episode.tree.root.created))
    status = next_pause(link, status)
    forked = load_state(link.run_path).current
    assert forked is not None and forked.start.parent == "0" and status.episode == forked.id
    link.send(Resume())
    assert ended(link)
    state = load_state(link.run_path)
    assert {episode.status for episode in state.episodes.values()} == {"finished"}


def test_one_can_go_back_when_the_episode_has_ended(start: Starter) -> None:
    link = start(plan_of("counting", "short:0"), wait_at_end=True)
    wait_for_phase(link, "ended")
    episode = load_state(link.run_path).episodes["0"]
    assert episode.status == "finished"
    link.send(Rewind(episode.tree["0.0"].acted_at))
    wait_for_phase(link, "paused")
    episode = load_state(link.run_path).episodes["0"]
    assert (episode.status, len(episode.tree)) == ("running", 2)
    link.send(Resume())
    wait_for_phase(link, "ended")
    link.send(Resume())
    assert ended(link)
    finished = load_state(link.run_path).finished
    assert finished is not None and finished.scores == (1.0,)


def test_a_person_plays(start: Starter) -> None:
    link = start(plan_of("counting", "short:0", policy="human"))
    status = wait_for_phase(link, "waiting")
    played = 0
    while status.phase == "waiting":
        assert status.actions[status.nodes[0]] == ("add 1", "add 2", "add 3")
        link.send(Override(status.nodes[0], "add 3"))
        played += 1
        before = status.nodes

        def moved_on(before: tuple[str, ...] = before) -> bool:
            now = link.status()
            assert now is not None
            return now.phase == "finished" or (now.phase == "waiting" and now.nodes != before)

        wait_for(link, moved_on)
        status = link.status() or status
    assert played == 4
    assert ended(link)
    finished = load_state(link.run_path).finished
    assert finished is not None and finished.scores == (1.0,)


@pytest.mark.parametrize(
    ("plan", "code", "words"),
    [
        (plan_of("mazes", "maze-4:3"), 2, "Did you mean 'maze'?"),
        (plan_of("maze", "maze-44:3"), 2, "'maze-44'"),
        (plan_of("maze", "maze-4:3", policy="scriptd"), 2, "Did you mean 'scripted'?"),
        (plan_of("maze", "maze-4:3", policy="bundled:nothing"), 2, "bundled"),
        (plan_of("maze", "maze-4:3", policy="/nowhere/model.gguf"), 3, "/nowhere/model.gguf"),
        (RunPlan(environment="maze", tasks=("maze-4:3",), policy="scripted"), 2, "--reward"),
    ],
)
def test_a_plan_that_cannot_work_is_one_clear_line(start: Starter, plan: RunPlan, code: int, words: str) -> None:
    link = start(plan)
    assert ended(link)
    assert link.exit_code == code
    assert words in link.exit_notice() and "\n" not in link.exit_notice()
    assert "Traceback" not in " ".join(link.log_tail(50))
    status = link.status()
    assert status is not None and status.phase == "failed"
    link.close()
    assert not link.run_path.exists() and not link.log_path.exists()


def test_a_run_is_not_written_over(start: Starter, tmp_path: Path) -> None:
    first = start(MAZE)
    assert ended(first)
    written = first.run_path.read_bytes()
    second = start(MAZE)
    assert ended(second)
    assert (second.exit_code, "exists already" in second.exit_notice()) == (3, True)
    foreign = tmp_path / "notes.jsonl"
    foreign.write_text("shopping list\n")
    third = start(MAZE, resume=foreign)
    assert ended(third)
    assert third.exit_code == 3 and "not a run file" in third.exit_notice()
    fourth = start(plan_of("maze", "maze-4:4"), resume=first.run_path)
    assert ended(fourth)
    assert fourth.exit_code == 0, "a file is resumed by its own plan, which has nothing left to do"
    assert (first.run_path.read_bytes(), foreign.read_text()) == (written, "shopping list\n")
    with pytest.raises(DataError, match="does not exist"):
        start(MAZE, resume=tmp_path / "nothing.jsonl")


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        EngineLink.start(MAZE, tmp_path / "file" / "run.jsonl")


@pytest.mark.parametrize(("algorithm", "pairs"), [("beam", 4), ("greedy", 15), ("mcts", 2), ("best-of-n", 6)])
def test_killed_at_random_moments_the_file_opens_and_goes_on(
    start: Starter, tmp_path: Path, algorithm: str, pairs: int
) -> None:
    tasks = [f"{level}:{seed}" for level in ("maze-5", "pits-6") for seed in range(pairs)]
    plan = plan_of("maze", *tasks, algorithm=algorithm)
    whole = start(plan, tmp_path / "whole.jsonl")
    assert ended(whole)
    expected = load_state(whole.run_path)
    total, path = whole.run_path.stat().st_size, tmp_path / "killed.jsonl"
    rng, kills = random.Random(f"kill/{algorithm}"), 0
    link = start(plan, path)
    for _ in range(4):
        if not kill_when_grown(link, path.stat().st_size + rng.randrange(1 + total // 6)):
            break
        kills += 1
        assert "SIGKILL" in link.exit_notice()
        if path.stat().st_size:
            load_state(path)
        link = start(plan, resume=path)
    assert kills
    assert ended(link)
    assert link.exit_code == 0
    state = load_state(path)
    assert state.finished is not None and expected.finished is not None
    assert state.finished.scores == expected.finished.scores
    assert essence(state) == essence(expected)


def test_a_torn_last_line_is_cut_away(start: Starter) -> None:
    link = start(MAZE, paused=True)
    status = wait_for_phase(link, "paused")
    link.send(Step())
    next_pause(link, status)
    os.kill(link.pid, signal.SIGKILL)
    assert ended(link)
    whole = link.run_path.read_bytes()
    with link.run_path.open("ab") as file:
        file.write(b'{"type":"scored","ep')
    again = start(MAZE, resume=link.run_path, paused=True)
    assert wait_for_phase(again, "paused").request == "score"
    again.send(Stop())
    assert ended(again)
    assert again.run_path.read_bytes().startswith(whole)
    assert b'"ep{' not in again.run_path.read_bytes()
    load_state(again.run_path)


def script_of(tmp_path: Path, *actions: str) -> str:
    """A policy that plays these actions in turn."""
    file = tmp_path / "script.txt"
    file.write_text("\n\n".join(f"Action: {action}" for action in actions))
    return f"scripted:{file}"


@pytest.mark.parametrize(("action", "how"), [("abort", "SIGABRT"), ("crash", "SIGSEGV")])
def test_a_crash_in_native_code_is_told_with_the_last_words(
    start: Starter, tmp_path: Path, action: str, how: str
) -> None:
    link = start(plan_of("counting", "short:0", policy=script_of(tmp_path, "add 1", action)))
    assert ended(link)
    assert how in link.exit_notice() and "Fatal Python error" in link.exit_notice()
    assert "\x1b" not in link.exit_notice()
    assert load_state(link.run_path).episodes["0"].tree["0.0"].outcome == 1 / 12


def test_a_bug_in_the_environment_ends_its_episode_and_is_named(start: Starter, tmp_path: Path) -> None:
    link = start(plan_of("counting", "short:0", policy=script_of(tmp_path, "raise")))
    assert ended(link)
    assert link.exit_code == DataError.exit_code
    words = "environment 'counting': FakeEnvironment.step raised RuntimeError: a bug in the environment ("
    assert link.exit_notice().startswith(words)
    (fault,) = load_state(link.run_path).faults
    assert fault.message.startswith(words) and "fake_environments.py:" in fault.message


def test_a_call_that_cannot_be_interrupted_is_ended_by_force(
    start: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    monkeypatch.setenv("FAKE_FIFO", str(fifo))
    link = start(plan_of("counting", "short:0", policy=script_of(tmp_path, "add 1", "wait")))
    wait_for(link, lambda: (status := link.status()) is not None and status.what == "FakeEnvironment.step")
    began = time.monotonic()
    link.close(grace=0.3)
    assert time.monotonic() - began < 5
    assert link.exit_code == -signal.SIGTERM
    assert load_state(link.run_path).episodes["0"].status == "running"


def test_noise_goes_to_the_log_and_never_to_the_terminal(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from agentrm_tui.engine.link import EngineLink\n"
        "from agentrm_tui.runs.plan import RunPlan\n"
        "from agentrm_tui.search.greedy import Greedy\n"
        "plan = RunPlan(environment='counting', tasks=('short:0',), policy='scripted',\n"
        "               search=Greedy())\n"
        "link = EngineLink.start(plan, Path(sys.argv[1]))\n"
        "assert link.wait(30) and link.exit_code == 0, link.exit_notice()\n"
        "print('*'.join(link.log_tail(3)).replace('NOISE', 'noise'))\n"
        "link.close()\n"
    )
    path = tmp_path / "run.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(PLUGIN), os.environ.get("PYTHONPATH", "")))}
    parent = subprocess.run(
        [sys.executable, "-c", script, str(path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert parent.returncode == 0, parent.stderr
    assert parent.stdout == "noise on descriptor 1*noise on descriptor 2*noise on stderr\n"
    assert parent.stderr == ""
    assert log_path_of(path).read_bytes().count(b"NOISE") == 4


def test_an_engine_outlives_ctrl_c_and_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from agentrm_tui.engine.link import EngineLink\n"
        "from agentrm_tui.runs.plan import RunPlan\n"
        "from agentrm_tui.search.greedy import Greedy\n"
        "plan = RunPlan(environment='maze', tasks=('maze-4:3',), policy='scripted',\n"
        "               search=Greedy())\n"
        "link = EngineLink.start(plan, Path(sys.argv[1]), paused=True)\n"
        "while not (link.status() and link.status().phase == 'paused'):\n"
        "    assert not link.wait(0.02), link.exit_notice()\n"
        "print(link.pid, os.getsid(link.pid) == link.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    path = tmp_path / "run.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, own_session = parent.stdout.readline().split()
        assert own_session == "True", "Ctrl-C in the terminal would reach the engine"
        assert not gone(int(pid), 0.3)
        os.kill(parent.pid, signal.SIGKILL)
        assert gone(int(pid), DEADLINE)
    finished = load_state(path).finished
    assert finished is not None and finished.reason == "stopped"


def test_a_stopped_engine_holds_no_link_up(start: Starter) -> None:
    link = start(MAZE, paused=True)
    wait_for_phase(link, "paused")
    os.kill(link.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(200):
            link.send(Override("0", "x" * 10_000))
            link.status()
        assert time.monotonic() - began < 2
    finally:
        os.kill(link.pid, signal.SIGCONT)
    link.send(Rewind(1))
    wait_for(link, lambda: len(load_state(link.run_path).episodes["0"].abandoned) >= 1)


def test_a_dead_engine_takes_commands_in_silence(start: Starter) -> None:
    link = start(MAZE, paused=True)
    wait_for_phase(link, "paused")
    os.kill(link.pid, signal.SIGKILL)
    assert ended(link)
    for _ in range(3):
        link.send(Resume())
        assert link.status() is not None
    assert not link.alive
    link.close()
    link.close()
    link.send(Pause())
    assert "SIGKILL" in link.exit_notice()
