"""A run that somebody else drives: the screen tells whether it is still driven."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import FakeClock, finished_run, surroundings

from agentrm_tui.runs import written
from agentrm_tui.runs.recording import Recording
from agentrm_tui.runs.store import RunWriter
from agentrm_tui.runs.written import is_written
from agentrm_tui.ui.session import LOOK_SECONDS, Session


class Later(FakeClock):
    """A clock that moves on by a look each time it is asked."""

    def __call__(self) -> float:
        self.now += LOOK_SECONDS
        return self.now


def attached(path: Path) -> Session:
    return Session(path, surroundings([], clock=Later())._replace(open_run=Recording), follow=True)


@pytest.mark.skipif(not written.LOCKS.exists(), reason="the system does not list locks")
def test_running_left_gone_on_with_and_finished_are_told_apart(tmp_path: Path) -> None:
    path, events = tmp_path / "run.jsonl", finished_run()
    writer = RunWriter(path)
    for event in events[:6]:
        writer.append(event)
    session = attached(path)
    phases = []

    def look() -> None:
        snapshot = session.poll()
        phases.append(session.phase(None))
        assert session.facts(snapshot, "", None).dead == (phases[-1] == "failed")

    look()
    writer.close()
    look()
    writer = RunWriter(path)
    look()
    for event in events[6:]:
        writer.append(event)
    writer.close()
    look()
    look()
    assert phases == ["running", "failed", "running", "finished", "finished"]
    assert session.replay, "from now on it is a recording"


def test_where_the_system_does_not_tell_a_run_counts_as_driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path)
    writer.append(finished_run()[0])
    writer.close()
    monkeypatch.setattr(written, "LOCKS", tmp_path / "none")
    assert is_written(path) is None
    session = attached(path)
    session.poll()
    assert session.phase(None) == "running"


def test_other_files_and_other_locks_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"")
    number = path.stat().st_ino
    locks = tmp_path / "locks"
    monkeypatch.setattr(written, "LOCKS", locks)
    locks.write_text(
        f"1: FLOCK  ADVISORY  WRITE 7 fe:00:{number}1 0 EOF\n2: POSIX  ADVISORY  WRITE 7 fe:00:{number} 0 EOF\n"
    )
    assert is_written(path) is False
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 7 fe:00:{number} 0 EOF\n")
    assert is_written(path) is True
    assert is_written(tmp_path / "missing.jsonl") is None
