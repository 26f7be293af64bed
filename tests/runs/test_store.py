from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_world import SETTINGS, FakePolicy, FakeRecorder, FakeReward, fake_plan, make_fake
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.errors import DataError
from agentrm_models.usage import Usage
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.codec import Codec
from agentrm_tui.runs.state import RunState, apply
from agentrm_tui.runs.store import (
    RunReader,
    RunWriter,
    list_runs,
    load_state,
    new_run_path,
    read_run,
    runs_folder,
)
from agentrm_tui.ui.start import run_app

LONG = "a thought that is longer than forty characters, and is written once"


def play(path: Path, algorithm: str = "beam", tasks: int = 2, **changes: Any) -> FakeRecorder:
    recorder, writer = FakeRecorder(), RunWriter(path)

    def emit(event: ev.AnyEvent) -> None:
        assert writer.append(event) == len(recorder.events)
        recorder(event)

    run_plan(
        fake_plan(algorithm, tasks, **{**SETTINGS[algorithm], **changes}),
        policy=FakePolicy(),
        reward=FakeReward(),
        emit=emit,
        environments=make_fake,
    )
    writer.close()
    return recorder


def same(one: object, other: object) -> bool:
    """Equal in every field; not-a-number equals itself."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_file_gives_back_the_events_and_the_state_event_by_event(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "run.jsonl"
    live = play(path, algorithm)
    events, notice = read_run(path)
    assert notice == ""
    assert same(events, live.events)
    first, second = RunState(), RunState()
    for event, read in zip(live.events, events, strict=True):
        assert same(apply(first, event), apply(second, read))
    assert same(load_state(path), live.state)


def test_a_reader_that_follows_sees_each_event_once_it_is_whole(tmp_path: Path) -> None:
    source, copy = tmp_path / "run.jsonl", tmp_path / "growing.jsonl"
    live = play(source, "greedy", tasks=1)
    data, seen = source.read_bytes(), []
    copy.write_bytes(b"")
    reader = RunReader(copy)
    for start in range(0, len(data), 97):
        with copy.open("ab") as file:
            file.write(data[start : start + 97])
        seen += reader.poll()
        assert (reader.notice == "") == (start + 97 >= len(data) or data[: start + 97].endswith(b"\n"))
    assert same(seen, live.events)
    assert reader.poll() == []


def test_a_torn_last_line_is_skipped_with_a_notice_and_cut_away_when_going_on(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    live = play(path, "greedy", tasks=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    events, notice = read_run(path)
    assert same(events, live.events[:-1])
    assert str(path) in notice and "cut off" in notice
    writer = RunWriter(path)
    assert writer.append(live.events[-1]) == len(live.events) - 1
    writer.close()
    assert path.read_bytes() == whole


@given(cut=st.integers(0, 4_000))
def test_a_file_cut_anywhere_opens_or_says_why_not(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "run.jsonl"
    live = play(path, "beam", tasks=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    if b"\n" not in whole[:cut]:
        with pytest.raises(DataError, match="holds no event"):
            read_run(path)
        return
    events, _ = read_run(path)
    assert same(events, live.events[: len(events)])
    writer = RunWriter(path)
    for event in live.events[len(events) :]:
        writer.append(event)
    writer.close()
    assert same(read_run(path)[0], live.events)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a run file of agentrm-tui: it holds no event"),
        (b"hello\n", "line 1: not a run file of agentrm-tui: not JSON"),
        (b"\x00\xff\n", "line 1: not a run file of agentrm-tui"),
        (b"[1]\n", "line 1: not a run file of agentrm-tui"),
        (b'{"type":"other"}\n', "line 1: not a run file of agentrm-tui"),
        (b'{"text":0,"is":"x"}\n', "line 1: not a run file of agentrm-tui: it does not begin with run_started"),
        (b"[" * 100_000 + b"\n", "line 1: not a run file of agentrm-tui: not JSON"),
        (b'{"type":"run_started","version":99}\n', "line 1: written by a newer version"),
        (
            b'{"type":"run_started","version":"x"}\n',
            "its version is not a number",
        ),
        (b'{"type":"run_started"}\nnonsense\n', "line 2: not JSON"),
        (b'{"type":"run_started"}\n{"type":"dreamt"}\n', "line 2: not an event of this version"),
        (b'{"type":"run_started"}\n{"text":3,"is":"x"}\n', "line 2: texts are missing"),
        (b'{"type":"run_started"}\n{"type":"fault","message":{"t":7}}\n', "line 2: not an event"),
        (b'{"type":"run_started"}\n{"type":"chosen","ep":"0","n":5}\n', "line 2: not an event"),
    ],
)
def test_what_is_not_a_run_file_is_refused_by_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)
    if content:
        with pytest.raises(DataError):
            RunWriter(path)
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"type":"run_started","run":"a', "a run file that is cut off in its first line: it holds no event"),
        (b"hello", "not a run file of agentrm-tui: it holds no event"),
    ],
)
def test_a_file_that_ends_in_its_first_line_says_what_it_may_be(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "short.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_run(path)
    with pytest.raises(DataError, match=message):
        run_app(replay=path)


def test_missing_files_folders_and_foreign_episodes_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="cannot be"):
        RunWriter(tmp_path)
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b'{"type":"run_started"}\n{"type":"chosen","ep":"4","n":0}\n')
    with pytest.raises(DataError, match=r"odd.jsonl: event 1 belongs to episode '4'"):
        load_state(path)


def test_compressed_runs_can_be_read_but_not_gone_on_with(tmp_path: Path) -> None:
    path, packed = tmp_path / "run.jsonl", tmp_path / "run.jsonl.gz"
    live = play(path)
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert same(read_run(packed)[0], live.events)
    assert [run.finished is not None for run in list_runs(tmp_path)] == [True, True]
    with pytest.raises(DataError, match="compressed"):
        RunWriter(packed)
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(DataError, match="gzip"):
        read_run(packed)


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        ("greedy", {}),
        ("best-of-n", {"n": 5}),
        ("beam", {"beam_width": 5, "beam_samples": 5}),
        ("mcts", {"iterations": 20, "branching": 4}),
        ("mcts", {"iterations": 40, "leaf": "rollout"}),
    ],
)
def test_a_node_costs_at_most_400_bytes_besides_its_texts(
    tmp_path: Path, algorithm: str, changes: dict[str, Any]
) -> None:
    path = tmp_path / "run.jsonl"
    live = play(path, algorithm, tasks=4, **changes)
    nodes = sum(len(episode.tree) for episode in live.state.episodes.values())
    texts = [line for line in path.read_bytes().splitlines() if line.startswith(b'{"text"')]
    inline = sum(
        len(text)
        for episode in live.state.episodes.values()
        for node in episode.tree
        for text in (node.reply, node.observation or "", node.picture)
        if len(text) <= 40
    )
    size = path.stat().st_size - sum(len(line) + 1 for line in texts) - inline
    assert size / nodes <= 400


def test_each_text_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path)
    writer.append(ev.RunStarted())
    for name in ("0", "1"):
        writer.append(ev.EpisodeStarted(episode=name, task="t", goal=LONG, observation=LONG, step_limit=3))
    writer.close()
    assert path.read_text().count(LONG) == 1
    assert read_run(path)[0][2].goal == LONG  # type: ignore[union-attr]
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_numbers_that_json_cannot_write_and_odd_texts_survive() -> None:
    writer, reader = Codec(), Codec()
    start = ev.RunStarted()
    event = ev.Proposed(
        episode="0",
        asked=("0",),
        nodes=(
            ev.ProposedNode("0.0", "0", "\x1b[31m\u2028[b]" * 30, math.nan, 3),
            ev.ProposedNode("0.1", "0", '{"t": 0}', -math.inf),
        ),
        usage=Usage(1, 2, 3, 4, 5, 6.5),
    )
    for written in (start, event):
        lines = writer.encode(written).splitlines()
        read = [found for line in lines if (found := reader.decode(line)) is not None]
        assert same(read, [written])


def test_ids_of_a_fork_refer_to_nodes_that_only_its_parent_made() -> None:
    writer, reader = Codec(), Codec()
    events = [
        ev.Chosen(episode="0.f1", node="0.3.1"),
        ev.Pruned(episode="0.f1", nodes=("0.3.1", "0.3.1.0", "0.7"), why="beam"),
        ev.Backpropagated(episode="0.f1", path=("0", "0.3", "0.3.1"), values=(0.5, 0.5, 0.5)),
        ev.Backpropagated(episode="0.f1", path=("0", "0.3"), values=(0.25, 0.5)),
        ev.Backpropagated(episode="0.f1", path=("0.3", "0.7"), values=(0.5, 0.5)),
    ]
    for event in events:
        assert same([reader.decode(line) for line in writer.encode(event).splitlines()], [event])


def test_the_runs_folder_and_its_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTRM_RUNS", str(tmp_path / "runs"))
    assert runs_folder() == tmp_path / "runs"
    assert list_runs() == []
    first = new_run_path(fake_plan("beam"))
    assert first.parent == tmp_path / "runs" and first.name.endswith("-fake-beam.jsonl")
    play(first)
    assert new_run_path(fake_plan("beam")) != first
    torn = runs_folder() / "torn.jsonl"
    torn.write_bytes(first.read_bytes()[:-30])
    (runs_folder() / "odd.jsonl").write_text("not ours\n")
    found = {run.path.name: run for run in list_runs()}
    assert found[first.name].finished is not None
    assert found["torn.jsonl"].started is not None and found["torn.jsonl"].finished is None
    assert found["odd.jsonl"].problem


def test_events_are_read_back_by_type_and_unknown_fields_are_ignored() -> None:
    line = msgspec.json.encode({"type": "fault", "message": "m", "colour": "blue"})
    assert Codec().decode(line) == ev.Fault(message="m")


def test_the_format_and_every_setting_are_written_even_where_they_are_the_defaults() -> None:
    """Otherwise a later version's file would look like this version's, and its defaults would be read into this one."""
    written = json.loads(Codec().encode(ev.RunStarted(environment="maze")))
    assert written["version"] == ev.FORMAT_VERSION
    assert {"seed", "device", "threads", "parallel", "cache_bytes", "max_steps", "temperature"} <= set(written)


def test_a_run_file_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first = RunWriter(path)
    first.append(ev.RunStarted(environment="maze"))
    with pytest.raises(DataError, match="being written by another process"):
        RunWriter(path)
    first.append(ev.Fault(message="still mine"))
    first.close()
    second = RunWriter(path)
    assert second.events == 2
    second.close()
    assert len(read_run(path)[0]) == 2
