from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from test_store import play

from agentrm_tui.runs import listing
from agentrm_tui.runs.listing import RunSummary, list_runs
from agentrm_tui.runs.store import compress_run


def found(folder: Path) -> dict[str, RunSummary]:
    return {run.path.name: run for run in list_runs(folder)}


def test_runs_are_listed_with_how_they_ended(tmp_path: Path) -> None:
    for name in ("whole", "torn", "packed"):
        play(tmp_path / f"{name}.jsonl")
    compress_run(tmp_path / "packed.jsonl")
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(torn.read_bytes()[:-30])
    runs = found(tmp_path)
    assert {name: run.finished is not None for name, run in runs.items()} == {
        "whole.jsonl": True,
        "torn.jsonl": False,
        "packed.jsonl.gz": True,
    }
    assert all(run.started is not None and not run.problem for run in runs.values())
    assert list_runs(tmp_path / "nowhere") == []


def test_what_cannot_be_read_is_listed_beside_good_runs_with_the_reason(tmp_path: Path) -> None:
    play(tmp_path / "good.jsonl")
    whole = (tmp_path / "good.jsonl").read_bytes()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "odd.jsonl").write_text("not ours\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "deep.jsonl").write_bytes(b'{"a":' * 400 + b"1" + b"}" * 400 + b"\n")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(whole)[:-30])
    (tmp_path / "false.jsonl.gz").write_bytes(b"\x1f\x8bnot gzip at all")
    runs = found(tmp_path)
    assert len(runs) == 11
    assert [name for name, run in runs.items() if not run.problem] == ["good.jsonl"]
    assert all("\n" not in run.problem and len(run.problem) < 400 for run in runs.values())


def test_a_compressed_file_that_unpacks_without_end_costs_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path / "run.jsonl")
    first = (tmp_path / "run.jsonl").read_bytes().splitlines(keepends=True)[0]
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(first + b"0" * 50_000_000))
    monkeypatch.setattr(listing, "_UNPACKED", 10_000_000)
    assert "too large" in found(tmp_path)["bomb.jsonl.gz"].problem


def test_a_run_that_goes_away_while_the_list_is_made_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path / "run.jsonl")

    def gone(path: Path) -> None:
        path.unlink()
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(listing, "_ends", gone)
    assert "No such file" in found(tmp_path)["run.jsonl"].problem
