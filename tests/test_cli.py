from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from agentrm_models.load_options import LoadOptions
from agentrm_tui import cli
from agentrm_tui.cli import run_command
from agentrm_tui.headless import choosing
from agentrm_tui.runs.store import load_state, runs_folder
from agentrm_tui.search.best_of_n import BestOfN
from agentrm_tui.search.mcts import MCTS

ROOT = Path(__file__).parents[1]
FREE = ("--policy", "scripted", "--reward", "random")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTRM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("AGENTRM_CONFIG", str(tmp_path / "config"))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("rum",), 2, "Did you mean 'run'"),
        (("run",), 2, "no environment was named"),
        (("run", "maz", *FREE), 2, "Did you mean 'maze'"),
        (("run", "maze", "--bem", "3x3"), 2, "--beam"),
        (("run", "maze", "--beam", "0x3"), 2, "between 1 and 999"),
        (("run", "maze", "--beam", "five"), 2, "not of the form 5x5"),
        (("run", "maze", "--tasks", "0"), 2, "--tasks"),
        (("run", "maze", "--search", "beem"), 2, "best-of-n"),
        (("run", "maze", "--level", "maze-44", *FREE), 2, "Did you mean 'maze-4'"),
        (("run", "alfworld", "--level", "valid_seen", *FREE), 3, "ALFWORLD_DATA is not set"),
        (("run", "maze", "--task", "maze-4:x", *FREE), 2, "not a whole number"),
        (("run", "maze", "--task", "maze-4:1", "--tasks", "3", *FREE), 2, "--task names the tasks"),
        (("run", "maze", "--policy", "scripte", "--reward", "random"), 2, "Did you mean 'scripted'"),
        (("run", "maze", "--policy", "scripted", "--reward", "randon"), 2, "Did you mean 'random'"),
        (("run", "maze", "--policy", "./none.gguf", "--reward", "random"), 3, "does not exist"),
        (("run", "maze", "--policy", "human", "--search", "greedy"), 2, "agentrm-tui play"),
        (("run", "maze", *FREE, "--temperature", "0"), 2, "temperature 0"),
        (("run", "maze", "--search", "mcts", "--share-states", "--depth", "-1", *FREE), 2, "--depth"),
        (("run", "maze", "--policy", "scripted:"), 2, "lacks its file"),
        (("run", "maze", "--search", "adaptive", *FREE), 2, "Give --stop-at"),
        (("run", "maze", "--threads", "1000000", *FREE), 2, "--threads"),
        (("run", "--resume", "none.jsonl"), 3, "there is no run file"),
        (("replay", "none"), 3, "there is no run file 'none'"),
        (("run", "maze", "--beam", "1000x1"), 2, "between 1 and 999"),
        (("run", "maze", "--exploration", "nan"), 2, "--exploration"),
        (("run", "maze", "--temperature", "inf"), 2, "--temperature"),
        (("run", "maze", "--seed", str(10**20)), 2, "--seed"),
        (("run", "maze", "--first-seed", str(10**18)), 2, "--first-seed"),
        (("run", "maze", *FREE, "--first-seed", str(10**18 - 2), "--tasks", "4"), 2, "18 digits"),
        (("run", "maze", "--out", "x" * 300), 2, "File name too long"),
        (("run", "maze", "--out", ""), 2, "--out"),
        (("run", "maze", "--policy", "x" * 300, "--reward", "random"), 2, "File name too long"),
        (("run", "maze", "--policy", "scripted", "--reward", "~nobody-here/x"), 2, "home directory"),
        (("replay", "x" * 300), 2, "File name too long"),
        (("run", "maze", "--policy", "./\x1b[31mx\x07\u202e/y"), 3, r"./\x1b[31mx\x07\u202e/y does not exist"),
        (("list", "task"), 2, "Did you mean 'tasks'"),
        (("list", "tasks", "mase"), 2, "Did you mean 'maze'"),
    ],
)
def test_what_a_person_gets_wrong_is_one_line_and_the_documented_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    found, out, err = call(capsys, *arguments)
    last = err.splitlines()[-1]
    assert found == code
    assert last.startswith("error: ") and words in last
    assert "Traceback" not in err and out == ""
    assert not runs_folder().exists()


def test_json_on_stdout_is_one_event_a_line_and_ends_with_the_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"
    arguments = ("run", "maze", *FREE, "--first-seed", "900000", "--tasks", "3", "--beam", "2x2", "--display", "json")
    code, out, err = call(capsys, *arguments, "--out", str(file))
    events = [json.loads(line) for line in out.splitlines()]
    last = events[-1]
    assert code == 0 and str(file) in err
    assert events[0]["type"] == "run_started" and last["type"] == "run_finished"
    assert len(last["scores"]) == 3 and last["score_mean"] == pytest.approx(sum(last["scores"]) / 3)
    assert set(last["ledger"]) >= {
        "policy_tokens_computed",
        "policy_tokens_unique",
        "reward_tokens_computed",
        "reward_tokens_unique",
        "env_steps",
        "transitions",
        "requests",
        "seconds",
    }
    state = load_state(file)
    assert state.events == len(events) and state.run is not None
    assert [task.rpartition(":")[2] for task in state.run.plan.tasks] == ["900000", "900001", "900002"]
    assert last["ledger"]["env_steps"] == last["ledger"]["transitions"] > 0


def test_plain_lines_tell_the_story_and_a_run_is_listed_and_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "run", "maze", *FREE, "--task", "maze-4:7", "--beam", "2x3")
    assert code == 0
    assert "maze (compatible): 1 task, policy scripted, reward random, beam 2x3, seed 0" in out
    for word in ("propose", "score", "cut", "act", "ended after", "cost:"):
        assert word in out
    name = Path(err.split("run file: ")[1].strip()).name
    code, listed, _ = call(capsys, "runs")
    assert code == 0 and name in listed and "beam 2x3" in listed
    code, again, _ = call(capsys, "replay", name)
    assert code == 0 and again.splitlines() == out.splitlines()
    assert call(capsys, "replay", name.removesuffix(".jsonl"))[0] == 0
    code, _, err = call(capsys, "replay", name.replace("beam", "bean"))
    assert code == 3 and f"Did you mean '{name}'?" in err


def test_without_a_terminal_a_demo_is_played_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys)
    assert code == 0 and out.splitlines()[-2].startswith("score ")
    code, out, _ = call(capsys, "play", "maze", "--policy", "expert", "--search", "greedy", "--level", "maze-4")
    assert code == 0 and "score 100.0 over 1 of 1 episodes" in out


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "list", "environments")
    assert code == 0 and re.search(r"^maze +compatible +- +\d+ levels, any seed +snapshot ", out, re.MULTILINE)
    assert "test from seed 9,000,000" in out
    code, out, _ = call(capsys, "list", "perturbations")
    assert code == 0 and "paper-3" in out
    code, out, _ = call(capsys, "list", "tasks", "maze", "--level", "maze-5", "--first-seed", "3", "--tasks", "2")
    assert code == 0 and "maze-5:3" in out and "maze-5:4" in out and "levels: " in out
    code, out, _ = call(capsys, "list", "models")
    assert code == 0 and "--policy: " in out
    assert call(capsys, "runs")[1] == "no runs yet\n"


def test_flags_reach_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Any] = []
    monkeypatch.setattr(cli, "_run_headless", lambda plan, out, display, **more: plans.append(plan) or 0)
    line = (
        "run maze --policy scripted --reward random --task maze-4:1 --task maze-4:2 --search mcts --iterations 7"
        " --simulations 2 --branching 3 --exploration 0.9 --depth 4 --discount 0.9 --leaf rollout --share-states"
        " --max-steps 6 --max-tokens 20 --temperature 1.1 --top-p 0.8 --seed 5 --device cpu --threads 1"
        " --cache-mb 3 --parallel 2 --trust-remote-code"
    )
    assert run_command(line.split()) == 0
    (plan,) = plans
    assert plan.tasks == ("maze-4:1", "maze-4:2")
    assert plan.search == MCTS(
        iterations=7,
        simulations=2,
        branching=3,
        exploration=0.9,
        depth=4,
        discount=0.9,
        leaf="rollout",
        share_states=True,
    )
    assert (plan.max_steps, plan.max_tokens, plan.temperature, plan.top_p, plan.seed) == (6, 20, 1.1, 0.8, 5)
    assert plan.parallel == 2
    assert plan.load == LoadOptions(device="cpu", threads=1, cache_bytes=3_000_000, trust_remote_code=True)
    assert run_command(["run", "maze", "--policy", "scripted", "--search", "best-of-n", "-n", "1"]) == 0
    assert plans[1].search == BestOfN(n=1) and plans[1].reward == ""
    assert plans[1].parallel == 0 and len(plans[1].tasks) == 1


def test_an_output_file_that_exists_is_never_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("precious")
    code, _, err = call(capsys, "run", "maze", *FREE, "--out", str(file))
    assert code == 2 and "exists" in err and file.read_text() == "precious"


def test_a_run_that_was_killed_before_its_first_event_is_begun(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"
    file.touch()
    code, _, err = call(capsys, "run", "--resume", str(file))
    assert code == 3 and f"Begin it with --out {file}" in err
    assert call(capsys, "run", "maze", *FREE, "--search", "greedy", "--out", str(file))[0] == 0
    assert load_state(file).finished is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ("maze", "--policy", "scripted:{}", "--search", "greedy"),
        ("pddl", "--domain", "{}", *FREE),
        ("jericho", "--story", "{}", *FREE),
    ],
)
def test_a_pipe_in_the_place_of_a_file_blocks_nobody(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, _, err = call(capsys, "run", *(part.format(pipe) for part in arguments))
    assert code == 3 and "is no ordinary file" in err


def test_a_killed_run_is_resumed_to_the_same_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    arguments = ("run", "maze", *FREE, "--tasks", "4", "--parallel", "2", "--beam", "2x2", "--display", "none")
    assert call(capsys, *arguments, "--out", str(whole))[0] == 0
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    code, out, _ = call(capsys, "run", "--resume", str(cut), "--display", "json")
    assert code == 0
    one, other = load_state(whole), load_state(cut)
    assert one.finished and other.finished and one.finished.scores == other.finished.scores
    assert json.loads(out.splitlines()[-1])["scores"] == list(one.finished.scores)
    assert len(out.splitlines()) == other.events
    code, _, err = call(capsys, "run", "--resume", str(cut))
    assert code == 2 and "has finished already" in err
    code, _, err = call(capsys, "run", "--resume", str(cut), "--beam", "3x3")
    assert code == 2 and "--beam has no meaning" in err


def spawn(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "agentrm_tui.cli", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
        **options,
    )


LONG = ("run", "maze", *FREE, "--tasks", "400", "--parallel", "2", "--search", "greedy", "--display", "json")


def test_ctrl_c_stops_the_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    process = spawn(*LONG, "--out", str(file))
    assert process.stdout is not None
    for _ in range(20):
        assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("error: interrupted. Resume it with: agentrm-tui run --resume ")
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["reason"] == "stopped"
    state = load_state(file)
    assert state.finished is not None and state.finished.reason == "stopped"


def test_kill_nine_leaves_a_file_that_opens_and_can_be_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    arguments = [part if part != "400" else "60" for part in LONG]
    process = spawn(*arguments, "--out", str(file))
    assert process.stdout is not None
    for _ in range(37):
        assert process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    before = load_state(file)
    assert before.finished is None and before.events >= 37
    assert run_command(["run", "--resume", str(file), "--display", "none"]) == 0
    after = load_state(file)
    assert after.finished is not None and None not in after.finished.scores and len(after.finished.scores) == 60


def test_a_reader_that_goes_away_is_no_drama(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    process = spawn(*LONG, "--out", str(file))
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) in (0, 130)
    assert "Traceback" not in err and "BrokenPipe" not in err
    assert load_state(file).events > 0


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("list models > /dev/full", 3, "stdout: cannot be written (No space left on device)"),
        ("{run} --display json > /dev/full", 3, "stdout: cannot be written (No space left on device). The run file"),
        ("list models >&-", 0, ""),
        ("{run} --display json >&-", 0, "run file"),
        ("{run} --display none 2>&-", 0, ""),
        ("{run} --display none <&- >&- 2>&-", 0, ""),
    ],
)
def test_streams_that_are_full_or_closed(line: str, code: int, words: str, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    arguments = line.format(run=f"run maze {' '.join(FREE)} --beam 2x2 --max-steps 2 --out {file}")
    command = f"exec {sys.executable} -m agentrm_tui.cli {arguments}"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    if "{run}" in line:
        assert load_state(file).run is not None
        assert code == 0 or run_command(["run", "--resume", str(file), "--display", "none"]) == 0


def test_a_listing_cut_short_by_its_reader_is_quiet() -> None:
    done = subprocess.run(
        f"{sys.executable} -m agentrm_tui.cli list tasks maze --tasks 300 | head -1",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("levels:") and done.stderr == ""


def test_what_libraries_print_is_not_data(tmp_path: Path) -> None:
    """Descriptor 1 belongs to diagnostics while a run goes on."""
    script = (
        "import os, sys\n"
        "from agentrm_tui.headless.running import only_data_on_stdout\n"
        "with only_data_on_stdout() as stream:\n"
        "    os.write(1, b'native noise\\n'); print('python noise')\n"
        "    stream.write('data\\n')\n"
        "print('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "data\nafter\n"
    assert "native noise" in done.stderr and "python noise" in done.stderr


def test_a_run_is_resumed_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "run", "maze", *FREE, "--beam", "2x2", "--display", "none")
    path = Path(err.split("run file: ")[1].strip())
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-4]))
    code, _, err = call(capsys, "run", "--resume", path.stem, "--display", "none")
    assert code == 0, err
    assert load_state(path).finished is not None
    assert call(capsys, "run", "--resume", path.stem + "x")[0] == 3


def test_a_folder_of_settings_that_cannot_exist_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTRM_RUNS", "~nobody-here/runs")
    code, _, err = call(capsys, "runs")
    assert code == 2 and "home directory" in err and len(err.splitlines()) == 1


def test_memory_errors_and_interrupts_have_their_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, code in ((MemoryError(), 4), (KeyboardInterrupt(), 130), (click.Abort(), 130)):

        def fail(*arguments: object, error: BaseException = error, **options: object) -> None:
            raise error

        monkeypatch.setattr(choosing, "make_plan", fail)
        found, _, err = call(capsys, "run", "maze", *FREE)
        assert found == code and err.strip().startswith("error: ")


def test_doctor_says_one_line_for_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    from agentrm_tui.doctor import Check

    code, out, _ = call(capsys, "doctor")
    assert code == 0, out
    for word in ("python", "torch", "llama.cpp", "env maze", "terminal", "runs folder"):
        assert word in out
    broken = Check("torch", "missing", "not installed", "Run make install.")
    assert broken.line() == "!!  torch               not installed. Run make install." and broken.exit_code == 3


def test_doctor_outlives_a_broken_torch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def broken() -> bool:
        raise OSError("libcuda.so.1: \x1b[31mundefined symbol")

    monkeypatch.setattr(torch.cuda, "is_available", broken)
    code, out, _ = call(capsys, "doctor")
    assert code == 0, out
    assert "--  accelerator         unknown: torch fails by OSError: libcuda.so.1: undefined symbol" in out


def test_doctor_calls_a_missing_extra_optional(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentrm_models.errors import MissingExtraError
    from agentrm_tui.environments import registry

    made = registry.make_environment

    def without_extra(name: str) -> registry.Environment:
        if name == "babyai":
            raise MissingExtraError("this game needs frob, which is not installed", "pip install 'agentrm-tui[frob]'")
        return made(name)

    monkeypatch.setattr(registry, "make_environment", without_extra)
    code, out, _ = call(capsys, "doctor")
    assert code == 0, out
    assert "--  env babyai          this game needs frob, which is not installed. pip install" in out


def test_default_models_are_those_trained_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentrm_models.bundled import BundledModel, ModelRole
    from agentrm_models.errors import UsageError
    from agentrm_tui import settings

    roles: tuple[ModelRole, ...] = ("policy", "reward")

    def bundle(**environments: tuple[str, ...]) -> None:
        models = [BundledModel(name, role, Path(), 1, known) for name, known in environments.items() for role in roles]
        monkeypatch.setattr(settings, "bundled_models", lambda: models)

    bundle(games=("maze", "pddl"), shops=("webshop",))
    assert settings.default_model("webshop", "policy") == "bundled:shops"
    assert settings.default_model("webshop+rename-verbs@3", "policy") == "bundled:shops"
    assert settings.default_model("pddl:domain.pddl", "reward") == "bundled:games"
    assert settings.default_model("toolquery", "reward") == "bundled:games"
    bundle()
    with pytest.raises(UsageError, match="--reward"):
        settings.default_model("maze", "reward")
    assert settings.launcher_memory().parent.name == "config"


def test_a_run_is_told_that_its_model_was_trained_on_something_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    short = ["--tasks", "1", "--max-steps", "1", "--max-tokens", "1", "--out"]
    _, _, err = call(capsys, "run", "toolquery", "--policy", "bundled:small", *short, str(tmp_path / "other.jsonl"))
    assert "note: bundled:small was not trained on toolquery, but on maze, pddl, babyai\n" in err
    for environment in ("maze", "toolquery"):
        _, _, err = call(capsys, "run", environment, *short, str(tmp_path / f"{environment}.jsonl"))
        assert "note:" not in err
