"""`agentrm-tui serve` as a program: what it refuses, how it begins and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentrm_tui.cli import run_command
from agentrm_tui.runs.store import RunReader, load_state

pytest.importorskip("uvicorn")

BUNDLED = ("--policy", "bundled:small", "--reward", "bundled:small")
KEY = "a-key-of-many-letters"
SECONDS = 120


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command(["serve", *arguments]) in (2, 3)
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--policy"),
        (("--policy", "bundled:small"), "--reward"),
        (("--policy", "bundled:smal", "--reward", "random"), "bundled:small"),
        (("--policy", "bundled:small", "--reward", "bundled:smal"), "bundled:small"),
        ((*BUNDLED, "--host", "0.0.0.0"), "AGENTRM_SERVE_KEY"),
        ((*BUNDLED, "--host", "example.org"), "AGENTRM_SERVE_KEY"),
        ((*BUNDLED, "--port", "70000"), "--port"),
        ((*BUNDLED, "-n", "0"), "-n"),
        ((*BUNDLED, "--key-file", "missing"), "missing"),
        ((*BUNDLED, "--idle", "nan"), "--idle"),
    ],
)
def test_wrong_flags_are_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(capsys, *arguments)


@pytest.mark.parametrize("key", ["short", "", "two words of a key", "ключ-из-букв-разных"])
def test_a_key_that_is_none_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str
) -> None:
    monkeypatch.setenv("AGENTRM_SERVE_KEY", key)
    line = refused(capsys, *BUNDLED)
    assert "AGENTRM_SERVE_KEY" in line
    assert not key or key not in line
    monkeypatch.delenv("AGENTRM_SERVE_KEY")
    (tmp_path / "key").write_text(key)
    line = refused(capsys, *BUNDLED, "--key-file", str(tmp_path / "key"))
    assert not key or key not in line


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(capsys, *BUNDLED, "--port", port, "--out", str(tmp_path / "run.jsonl"))
    assert port in line
    assert not (tmp_path / "run.jsonl").exists()


def test_a_policy_that_needs_an_environment_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    for policy in ("human", "expert"):
        assert policy in refused(capsys, "--policy", policy, "-n", "1", "--port", "0", "--out", str(out))
        assert not out.exists()


class Program(NamedTuple):
    process: subprocess.Popen[str]
    base: str
    announced: list[str]
    path: Path

    def ask(self, *messages: str, **fields: Any) -> Any:
        roles = ("user", "assistant")
        written = [{"role": roles[number % 2], "content": text} for number, text in enumerate(messages)]
        body = json.dumps({"model": "bundled:small", "messages": written, "max_tokens": 8, **fields}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        asked = urllib.request.Request(f"{self.base}/chat/completions", body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=SECONDS) as answer:
            return json.load(answer)


@contextmanager
def program(tmp_path: Path, *arguments: str) -> Iterator[Program]:
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-m", "agentrm_tui.cli", "serve", *BUNDLED, "-n", "3", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--out", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "AGENTRM_SERVE_KEY": KEY, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        announced = []
        for line in process.stderr:
            announced.append(line)
            if line.startswith("watch it"):
                break
        (serving,) = [line for line in announced if line.startswith("serving ")]
        yield Program(process, serving.split()[1].rstrip(","), announced, path)
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with program(tmp_path) as running:
        first = running.ask("Hello.")
        running.ask("Hello.", first["choices"][0]["message"]["content"], "Another.")
        running.process.send_signal(number)
        out, err = running.process.communicate(timeout=SECONDS)
        assert running.process.returncode == 0, err
    state = load_state(running.path)
    assert state.finished is not None
    assert (state.finished.reason, state.finished.score_mean) == ("finished", None)
    (episode,) = state.episodes.values()
    assert (episode.status, episode.steps, episode.outcome) == ("finished", 2, None)
    assert "no score (finished)" in out
    assert "score 0" not in out
    said = "".join([*running.announced, out, err, running.path.read_text()])
    assert KEY not in said


def test_what_it_says_is_data_on_stdout_and_the_rest_on_stderr(tmp_path: Path) -> None:
    with program(tmp_path, "--display", "json") as running:
        running.ask("Hello.")
        running.process.terminate()
        out, _ = running.process.communicate(timeout=SECONDS)
    kinds = [json.loads(line)["type"] for line in out.splitlines()]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_finished")
    assert [kind for kind in kinds if kind in ("proposed", "scored", "chosen")] == ["proposed", "scored", "chosen"]


def test_a_killed_endpoint_leaves_a_file_that_can_be_read_but_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with program(tmp_path) as running:
        told = running.ask("Hello.", agentrm={})["agentrm"]
        running.process.kill()
        running.process.wait(SECONDS)
    reader = RunReader(running.path)
    events = list(reader.read_all())
    assert reader.notice == ""
    assert events[-1].episode == told["episode"]
    assert run_command(["replay", str(running.path)]) == 0
    capsys.readouterr()
    assert run_command(["run", "--resume", str(running.path)]) == 2
    assert "serve" in capsys.readouterr().err
