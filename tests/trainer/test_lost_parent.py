"""Workers end with the process that started them, however it ends, and nothing half written is read afterwards."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentrm_models.load_options import LoadOptions
from agentrm_trainer.workflow import plays
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_trainer.workflow.workspace import clear_leftovers, partial_path
from agentrm_tui.runs import open_run
from agentrm_tui.runs.events import (
    Acted,
    AnyEvent,
    Chosen,
    EpisodeFinished,
    Fault,
    Proposed,
    RunStarted,
    Scored,
)
from agentrm_tui.runs.store import RunWriter, read_events
from agentrm_tui.search.best_of_n import BestOfN


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes that are not its own, as Linux can")
@pytest.mark.parametrize("kind", ["system", "pipe", "training"])
def test_workers_end_with_a_parent_that_is_killed(make_workspace, kind: str) -> None:
    workspace = make_workspace()
    if kind == "training":
        run_stage(workspace, "collect")
    here = Path(__file__).parent
    paths = os.pathsep.join(filter(None, (str(here), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, str(here / "lost_parent.py"), kind, str(workspace.out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        ends = [os.pidfd_open(worker) for worker in workers]
        parent.send_signal(signal.SIGKILL)
    waiting = select.poll()
    for end in ends:
        waiting.register(end, select.POLLIN)
    left = set(ends)
    while left and (ended := waiting.poll(120_000)):
        for end, _ in ended:
            waiting.unregister(end)
            left.remove(end)
    for end in ends:
        os.close(end)
    for worker in workers if left else []:
        os.kill(worker, signal.SIGKILL)
    assert not left, "workers live on after their parent"


class Killed(BaseException):
    """The process ends, as by kill -9: nothing is written after it."""


@contextmanager
def killed_in_run(number: int, event: int) -> Iterator[None]:
    """Let this process end at an event of the run that is opened as that number."""
    runs, left = [0], [event]

    class Deadly(RunWriter):
        def append(self, told: AnyEvent) -> int:
            runs[0] += isinstance(told, RunStarted)
            if runs[0] == number:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
            return super().append(told)

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(open_run, "RunWriter", Deadly)
        yield
        raise AssertionError("nobody was killed")


def choices(path: Path) -> list[AnyEvent]:
    """What was chosen and seen in a run, without what was measured."""
    chosen = (Proposed, Scored, Acted, Chosen, EpisodeFinished)
    plain = {"at": 0.0, "usage": None, "milliseconds": 0.0, "env_steps": 0}
    return [
        replace(event, **{name: value for name, value in plain.items() if hasattr(event, name)})
        for event in read_events(path)
        if isinstance(event, chosen)
    ]


def test_an_interrupted_chunk_is_no_result_under_a_smaller_budget(make_workspace) -> None:
    """`explore` died inside its third chunk; its time is up in the next sitting."""
    workspace = make_workspace(explore={"trees": 0, "max_minutes": 60.0, "dev_samples": 0})
    for stage in ("collect", "sft"):
        run_stage(workspace, stage)
    with killed_in_run(3, 12):
        run_stage(workspace, "explore")
    folder = workspace.folder("explore")
    assert len(list((folder / "runs").rglob("*"))) == 3
    run_stage(make_workspace(resume=True, explore={"trees": 0, "max_minutes": 1e-9, "dev_samples": 0}), "explore")
    assert workspace.done("explore").figures == {"trees": {"ladder": 8}, "initial_states": 8}
    assert len(list((folder / "runs").rglob("*"))) == 2
    run_stage(workspace, "label")
    assert workspace.done("label").figures["trees"] == 8


SAMPLING = plays.Sampling(0.7, 24, 3, 2, LoadOptions())
PLAN = plays.make_plan("ladder", [f"low:{seed}" for seed in range(5)], BestOfN(n=3), SAMPLING, "expert:0.4", "random:0")


@pytest.mark.parametrize("events", [0, 1, 2, 9, 30])
def test_a_chunk_that_was_killed_is_gone_on_with(tmp_path, events: int) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    plays.play(PLAN, whole)
    with killed_in_run(1, events):
        plays.play(PLAN, broken)
    begun = partial_path(broken)
    clear_leftovers(tmp_path)
    kept = begun.read_bytes() if events else b""
    if events:
        with begun.open("ab") as torn:
            torn.write(b'{"seq":')
    plays.play(PLAN, broken)
    assert broken.read_bytes().startswith(kept)
    assert choices(broken) == choices(whole)
    assert not begun.exists()


@pytest.mark.parametrize("other", ["search", "policy", "damaged", "empty", "failed"])
def test_what_is_left_of_another_run_is_played_afresh(tmp_path, other: str) -> None:
    whole, path = tmp_path / "whole.jsonl", tmp_path / "run.jsonl"
    plays.play(PLAN, whole)
    begun = partial_path(path)
    foreign = {"search": replace(PLAN, search=BestOfN(n=2)), "policy": replace(PLAN, policy="expert:0.3")}
    with killed_in_run(1, 25):
        plays.play(foreign.get(other, PLAN), path)
    if other == "damaged":
        begun.write_bytes(begun.read_bytes().replace(b"low", b"law", 3))
    elif other == "empty":
        begun.write_bytes(b"")
    elif other == "failed":
        writer = RunWriter(begun)
        writer.append(Fault(episode="0", message="the server is gone", fatal=True))
        writer.close()
    plays.play(PLAN, path)
    assert choices(path) == choices(whole)


def test_what_a_killed_process_left_is_cleared_or_put_back(tmp_path) -> None:
    for name in ("checkpoint", ".checkpoint.new", ".policy.old", ".backbone.old", "backbone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    partial_path(tmp_path / "checkpoint" / "model.safetensors").write_text("half")
    partial_path(tmp_path / "checkpoint" / "run.jsonl").write_text("to be resumed")
    (tmp_path / ".lock").write_text("")
    clear_leftovers(tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"checkpoint/file", "checkpoint/.run.jsonl.part", "policy/file", "backbone/file", ".lock"}
    assert (tmp_path / "policy" / "file").read_text() == ".policy.old"
    assert (tmp_path / "backbone" / "file").read_text() == "backbone"


def test_no_pattern_for_results_matches_a_part(tmp_path) -> None:
    for name in ("maze-0000000.jsonl", "maze.json", "model.safetensors"):
        partial_path(tmp_path / name).write_text("half")
        assert not list(tmp_path.glob(f"*{Path(name).suffix}"))
        assert not list(tmp_path.glob(f"{Path(name).stem}*"))
