from __future__ import annotations

import gzip
import json
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_world import SETTINGS, FakePolicy, FakeRecorder, FakeReward, fake_plan, make_fake
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.errors import DataError
from agentrm_tui.runs import events as ev
from agentrm_tui.runs import store
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.codec import Codec, schema
from agentrm_tui.runs.state import RunState, apply
from agentrm_tui.runs.store import (
    RunReader,
    RunWriter,
    compress_run,
    load_state,
    new_run_path,
    read_events,
    runs_folder,
)
from agentrm_tui.ui.start import run_app

GOLDEN = Path(__file__).parent / "golden.jsonl"
EARLIER = Path(__file__).parent / "golden-earlier.jsonl"
"""The same run in this format, written before the plan and the ledger had all the fields they have now."""
START = ev.RunStarted(plan=fake_plan(), run="0123abcd")


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


def write(path: Path, *events: ev.AnyEvent) -> Path:
    writer = RunWriter(path)
    for event in events:
        writer.append(event)
    writer.close()
    return path


def same(one: object, other: object) -> bool:
    """Equal in every field; not-a-number equals itself."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_file_gives_back_the_events_and_the_state_event_by_event(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "run.jsonl"
    live = play(path, algorithm)
    events = list(read_events(path))
    assert same(events, live.events)
    first, second = RunState(), RunState()
    for event, read in zip(live.events, events, strict=True):
        assert same(apply(first, event), apply(second, read))
    assert same(load_state(path), live.state)


def test_the_golden_file_of_this_format_is_read_and_written_to_the_byte() -> None:
    """A change of the format must come with a new number, and a new golden file."""
    events = list(read_events(GOLDEN))
    assert {type(event) for event in events} == set(ev.AnyEvent.__args__)
    state = load_state(GOLDEN)
    assert state.run is not None and state.run.version == ev.FORMAT_VERSION == 2
    assert state.run.plan.search.words == "beam 2x2"
    assert [episode.outcome for episode in state.episodes.values()] == [1.0, 0.25]
    assert state.finished is not None and state.finished.scores == (1.0,)
    codec = Codec()
    assert b"".join(codec.encode(event) for event in events) == GOLDEN.read_bytes()


def test_a_file_of_this_format_without_later_fields_is_the_same_run() -> None:
    assert b"reasoning_tokens" not in EARLIER.read_bytes()
    known = [event for event in read_events(GOLDEN) if not isinstance(event, ev.Noticed)]
    assert same(list(read_events(EARLIER)), known)
    state = RunState()
    for event in known:
        apply(state, event)
    assert same(load_state(EARLIER), state)


def test_every_record_is_plain_json_with_number_run_and_checksum(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    play(path, "mcts")
    records = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        for line in path.read_text().splitlines()
    ]
    assert [record["seq"] for record in records] == list(range(len(records)))
    assert len({record["run"] for record in records}) == 1
    assert all(len(record["crc"]) == 8 for record in records)
    proposed = next(record for record in records if record["type"] == "proposed")
    assert {"node", "parent", "reply", "log_probability"} <= set(proposed["nodes"][0])


def test_the_schema_describes_every_event_and_every_field(tmp_path: Path) -> None:
    found = schema()
    names = {reference["$ref"].rpartition("/")[2] for reference in found["anyOf"]}
    assert names == {kind.__name__ for kind in ev.AnyEvent.__args__}
    for kind in ev.AnyEvent.__args__:
        described = set(found["$defs"][kind.__name__]["properties"])
        assert described == {*kind.__struct_fields__, "type", "seq", "run", "crc"}


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


def test_a_long_file_is_read_a_part_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    live = play(path)
    reader = RunReader(path, at_once=500)
    first = reader.poll()
    assert len(first) < len(live.events) and reader.behind and reader.notice == ""
    assert same([*first, *reader.read_all()], live.events)
    assert not reader.behind


def test_a_torn_last_line_is_skipped_with_a_notice_and_cut_away_when_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    live = play(path, "greedy", tasks=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    reader = RunReader(path)
    assert same(reader.poll(), live.events[:-1])
    assert str(path) in reader.notice and "cut off" in reader.notice
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
            list(read_events(path))
        return
    events = list(read_events(path))
    assert same(events, live.events[: len(events)])
    writer = RunWriter(path)
    for event in live.events[len(events) :]:
        writer.append(event)
    writer.close()
    assert same(list(read_events(path)), live.events)


def damages(lines: list[bytes], draw: random.Random) -> Iterator[tuple[str, list[bytes]]]:
    """Ways in which a file loses its truth; the last line alone may go unnoticed, as a run that was cut off."""
    at, other = draw.randrange(len(lines) - 1), draw.randrange(1, len(lines))
    yield "deleted", lines[:at] + lines[at + 1 :]
    yield "repeated", [*lines[: at + 1], *lines[at:]]
    yield "swapped", [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
    place = draw.randrange(len(lines[other]) - 1)
    changed = bytearray(lines[other])
    changed[place] ^= 1 << draw.randrange(8)
    yield "changed", [*lines[:other], bytes(changed), *lines[other + 1 :]]
    yield "inserted", [*lines[:at], b'{"type":"fault","message":"by hand"}', *lines[at:]]


def test_lost_repeated_moved_changed_and_foreign_records_are_noticed(tmp_path: Path) -> None:
    one, two, path = tmp_path / "one.jsonl", tmp_path / "two.jsonl", tmp_path / "damaged.jsonl"
    play(one, "beam"), play(two, "beam")
    mine, theirs = (file.read_bytes().splitlines() for file in (one, two))
    draw = random.Random(5)
    for _ in range(60):
        cut = draw.randrange(1, len(mine) - 1)
        spliced = ("spliced", [*mine[:cut], *theirs[cut:]])
        for what, lines in (*damages(mine, draw), spliced):
            path.write_bytes(b"\n".join(lines) + b"\n")
            with pytest.raises(DataError) as caught:
                load_state(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value), what


OLD = b'{"type":"run_started","at":0.0,"episode":"","version":1,"run":"x","environment":"maze"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a run file of agentrm-tui: it holds no event"),
        (b"hello\n", "line 1: not a run file of agentrm-tui: not JSON"),
        (b"\x00\xff\n", "line 1: not a run file of agentrm-tui"),
        (b"[1]\n", "line 1: not a run file of agentrm-tui"),
        (b'{"type":"other"}\n', "line 1: not a run file of agentrm-tui: not a record of a run"),
        (b"[" * 100_000 + b"\n", "line 1: not a run file of agentrm-tui"),
        (b'{"type":' * 330 + b"1" + b"}" * 330 + b"\n", "line 1: not a run file of agentrm-tui"),
        (b'{"seq":0,"type":"run_started","version":99}\n', "line 1: written by a newer version (format 99"),
        (OLD, "line 1: written by an earlier version (format 1, this program reads 2)"),
        (b'{"seq":0,"type":"run_started","version":"x"}\n', "line 1: not a run file of agentrm-tui"),
        (b'{"seq":1e400}\n', "line 1: not a run file of agentrm-tui"),
    ],
)
def test_what_is_not_a_run_file_is_refused_by_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_events(path))
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)
    if content:
        with pytest.raises(DataError):
            RunWriter(path)
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (ev.Chosen(episode="4", node="0"), "event 1 belongs to episode '4', which never started"),
        (START, "a run starts once"),
    ],
)
def test_records_that_do_not_fit_together_are_refused_in_one_line(
    tmp_path: Path, event: ev.AnyEvent, message: str
) -> None:
    path = write(tmp_path / "odd.jsonl", START, event)
    with pytest.raises(DataError) as caught:
        load_state(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


BEGUN = ev.EpisodeStarted(episode="0", task="t", goal="g", observation="o", step_limit=3)
CHILD = ev.Proposed(episode="0", asked=("0",), nodes=(ev.ProposedNode("0.0", "0", "Action: a"),))


@pytest.mark.parametrize(
    "event",
    [
        ev.Scored(episode="0", groups=(("0.0",),), values=((0.5, 0.6),)),
        ev.Scored(episode="0", groups=(("0.0",),), values=()),
        ev.Scored(episode="0", groups=(("0.9",),), values=((0.5,),)),
        ev.Proposed(episode="0", asked=("0",), nodes=(ev.ProposedNode("0.1", "0.7"),)),
        ev.Proposed(episode="0", asked=("0",), nodes=(ev.ProposedNode("0.x", "0"),)),
        ev.Proposed(episode="0", asked=("0",), nodes=(ev.ProposedNode("9.1", "0"),)),
        ev.Proposed(episode="0", asked=("0",), nodes=(ev.ProposedNode("0.1", "0", samples=-3),)),
        ev.Proposed(
            episode="0", asked=(".".join("0" * 40_000),), nodes=(ev.ProposedNode(".".join("0" * 40_000), "0"),)
        ),
        ev.Backpropagated(episode="0", path=tuple("0" * 40_000), values=(0.0,)),
        ev.Backpropagated(episode="0", path=("0", "0.5"), values=(0.0, 0.0)),
        ev.Pruned(episode="0", nodes=("0.0",), why="w", margins=(0.1, 0.2)),
        ev.Acted(episode="0", nodes=(ev.ActedNode("0.5", "text", 1.0),)),
        ev.Chosen(episode="0", node="0.0.0"),
        ev.EpisodeStarted(episode="1", task="t", goal="g", observation="o", step_limit=3, parent="7"),
        ev.EpisodeStarted(episode="0", task="t", goal="g", observation="o", step_limit=3),
    ],
)
def test_records_that_parse_but_do_not_apply_are_refused_wherever_the_file_is_opened(
    tmp_path: Path, event: ev.AnyEvent
) -> None:
    path = write(tmp_path / "odd.jsonl", START, BEGUN, CHILD, event)
    with pytest.raises(DataError) as caught:
        load_state(path)
    assert "event 3" in str(caught.value) and len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"seq":0,"type":"run_started","run":"a', "a run file that is cut off in its first line: it holds no event"),
        (b"hello", "not a run file of agentrm-tui: it holds no event"),
    ],
)
def test_a_file_that_ends_in_its_first_line_says_what_it_may_be(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "short.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_events(path))
    with pytest.raises(DataError, match="holds no event"):
        run_app(replay=path)


def test_pipes_devices_folders_and_missing_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.jsonl").mkdir()
    for name in ("pipe", "zero", "dangling", "folder", "none"):
        with pytest.raises(DataError, match=f"{name}.jsonl"):
            list(read_events(tmp_path / f"{name}.jsonl"))
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(DataError, match="no ordinary file"):
            RunWriter(tmp_path / f"{name}.jsonl")
    with pytest.raises(DataError, match="cannot be written"):
        RunWriter(tmp_path / "zero.jsonl" / "run.jsonl")


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LONGEST_RECORD", 10_000)
    path = tmp_path / "endless.jsonl"
    path.write_bytes(b"x" * 50_000)
    reader = RunReader(path, at_once=4_000)
    with pytest.raises(DataError, match="longer than any record"):
        list(reader.read_all())
    assert reader.complete == 0


def test_a_finished_run_can_be_compressed_and_read_but_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    live = play(path)
    plain = path.read_bytes()
    packed = compress_run(path)
    assert packed.name == "run.jsonl.gz" and not path.exists()
    assert len(packed.read_bytes()) < len(plain) / 4
    assert same(list(read_events(packed)), live.events)
    with pytest.raises(DataError, match="compressed"):
        RunWriter(packed)
    whole = packed.read_bytes()
    for damaged in (whole[:-30], whole[:40] + b"\x00\xff" + whole[42:], gzip.compress(b"hello\n"), b""):
        packed.write_bytes(damaged)
        with pytest.raises(DataError, match=r"run\.jsonl\.gz"):
            list(read_events(packed))


def test_a_run_file_and_a_new_folder_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "run.jsonl"
    write(path, START)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_removed_or_shortened_while_it_is_used_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path)
    writer.append(START)
    reader = RunReader(path)
    reader.poll()
    path.unlink()
    with pytest.raises(DataError, match="was removed while"):
        writer.append(ev.Fault(message="lost"))
    writer.close()
    path.write_bytes(b"{}")
    with pytest.raises(DataError, match="shorter"):
        reader.poll()


def test_odd_texts_and_unknown_numbers_survive() -> None:
    writer, reader = Codec(), Codec()
    nodes = (
        ev.ProposedNode("0.0", "0", "\x1b[31m\u2028[b]\x00" * 30, None, 3),
        ev.ProposedNode("0.1", "0", '{"t": 0}'),
    )
    for event in (START, ev.Proposed(episode="0", asked=("0",), nodes=nodes)):
        line = writer.encode(event)
        assert line.count(b"\n") == 1
        assert same(reader.decode(line[:-1]), event)


def test_an_unknown_likelihood_is_no_number_in_the_tree(tmp_path: Path) -> None:
    nodes = (ev.ProposedNode("0.0", "0", "Action: a", None),)
    path = write(tmp_path / "run.jsonl", START, BEGUN, ev.Proposed(episode="0", asked=("0",), nodes=nodes))
    assert math.isnan(load_state(path).episodes["0"].tree["0.0"].log_probability)


def test_a_text_that_utf8_cannot_write_is_said(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run.jsonl")
    with pytest.raises(DataError, match="UTF-8"):
        writer.append(msgspec.structs.replace(START, origin="\udcff"))
    writer.close()
    assert not (tmp_path / "run.jsonl").exists()


def test_the_runs_folder_and_new_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTRM_RUNS", str(tmp_path / "runs"))
    assert runs_folder() == tmp_path / "runs"
    first = new_run_path(fake_plan("beam"))
    assert first.parent == tmp_path / "runs" and first.name.endswith("-fake-beam.jsonl")
    play(first)
    compress_run(first)
    assert new_run_path(fake_plan("beam")) != first


def test_the_format_and_every_setting_are_written_even_where_they_are_the_defaults() -> None:
    """Otherwise a later version's file would look like this version's, and its defaults would be read into this one."""
    written = json.loads(Codec().encode(START))
    assert written["version"] == ev.FORMAT_VERSION
    assert {"seed", "parallel", "max_steps", "temperature", "search", "load"} <= set(written["plan"])
    assert {"device", "threads", "cache_bytes"} <= set(written["plan"]["load"])


def test_a_run_file_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first = RunWriter(path)
    first.append(START)
    with pytest.raises(DataError, match="being written by another process"):
        RunWriter(path)
    first.append(ev.Fault(message="still mine"))
    first.close()
    second = RunWriter(path)
    assert second.events == 2
    second.close()
    assert len(list(read_events(path))) == 2
