"""Whole runs against a server on the loopback interface: what it refuses, where it fails, and who is sent the key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeServer, fake_server

from agentrm_tui.cli import run_command
from agentrm_tui.runs.store import load_state

KEY = "sk-" + "0123456789abcdef" * 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeServer]:
    for name in ("OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AGENTRM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("AGENTRM_CONFIG", str(tmp_path / "config"))
    with fake_server() as fake:
        yield fake


def play(server: FakeServer, file: Path, *more: str, policy: str = "") -> int:
    spec = policy or f"{server.address}#small&patience=0"
    flags = ("--policy", spec, "--search", "greedy", "--max-steps", "2", "--out", str(file))
    return run_command(["run", "maze", *flags, *more])


def test_what_a_server_refuses_is_told(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def minds(body: dict[str, Any]) -> tuple[int, bytes] | None:
        refused = b'{"error": {"message": "no", "param": "temperature"}}'
        return (400, refused) if "temperature" in body else None

    server.minds = minds
    file = tmp_path / "run.jsonl"
    assert play(server, file, "--display", "plain") == 0
    out, err = capsys.readouterr()
    told = f"warning: {server.address} takes no temperature, so it samples with its own in place of 0"
    assert err.count(told) == 1 and out.count(told) == 2
    assert [(item.what, item.loud) for item in load_state(file).noticed] == [("policy", True)]


def test_failed_episodes_give_exit_code_1_and_are_played_again(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goals: list[str] = []

    def minds(body: dict[str, Any]) -> tuple[int, bytes] | None:
        goal = body["messages"][1]["content"]
        goals.append(goal) if goal not in goals else None
        return (429, b'{"error": "slow down"}') if goals.index(goal) in (1, 3) else None

    server.minds = minds
    file = tmp_path / "run.jsonl"
    assert play(server, file, "--tasks", "6", "--parallel", "1", "--display", "plain") == 1
    assert "over 6 episodes: 4 of 6 ended, 2 failed and count 0" in capsys.readouterr().out
    server.minds = lambda body: None
    assert run_command(["run", "--resume", str(file), "--display", "plain"]) == 0
    assert "over 6 of 6 episodes" in capsys.readouterr().out
    assert {"1.r1", "3.r1"} <= set(load_state(file).episodes)


@pytest.mark.parametrize("role", ["policy", "reward"])
def test_a_key_goes_to_typed_addresses_only(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    file = tmp_path / "run.jsonl"
    spec = f"{server.address}#small&patience=0"
    models = ("--policy", spec) if role == "policy" else ("--policy", "scripted", "--reward", f"judge:{spec}")
    search = ("--search", "greedy") if role == "policy" else ("--search", "best-of-n", "-n", "2")
    server.failure = (500, b"")
    run_command(["run", "maze", *models, *search, "--max-steps", "1", "--out", str(file)])
    server.failure = None
    assert run_command(["run", "maze", *models, *search, "--max-steps", "1", "--out", str(file)]) in (0, 3)
    assert server.keys and set(server.keys) == {f"Bearer {KEY}"}
    lines = file.read_text().splitlines()
    cut = tmp_path / "foreign.jsonl"
    cut.write_text("".join(f"{line}\n" for line in lines[:5]))

    server.keys.clear()
    run_command(["run", "--resume", str(cut), "--display", "plain"])
    out, err = capsys.readouterr()
    assert server.keys and set(server.keys) == {None}
    assert f"note: OPENAI_API_KEY is not sent to {server.address}, which the run file names" in err
    cut.write_text("".join(f"{line}\n" for line in lines[:5]))
    server.keys.clear()
    run_command(["run", "--resume", str(cut), "--send-key", "--display", "none"])
    assert set(server.keys) == {f"Bearer {KEY}"}
    everything = (
        out
        + err
        + "".join(capsys.readouterr())
        + "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    )
    assert KEY not in everything


def test_a_withheld_key_is_the_remedy_of_a_refusal(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.jsonl"
    assert play(server, file) == 0
    file.write_text("".join(f"{line}\n" for line in file.read_text().splitlines()[:5]))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.failure = (401, b'{"error": {"message": "who are you"}}')
    capsys.readouterr()
    assert run_command(["run", "--resume", str(file)]) == 2
    assert re.search("who are you. The key is withheld; run --resume --send-key sends it", capsys.readouterr().err)
    assert run_command(["run", "maze", "--policy", "scripted", "--send-key"]) == 2
    assert "--send-key has a meaning beside --resume only" in capsys.readouterr().err


def test_a_server_that_repeats_the_key_does_not_get_it_stored(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    file = tmp_path / "run.jsonl"
    server.answer = json.dumps({"choices": [{"message": {"content": f"Action: say {KEY}"}}]}).encode()
    assert play(server, file) == 0
    assert KEY not in file.read_text() + "".join(capsys.readouterr())
