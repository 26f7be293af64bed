"""Damaged run files, wherever they are opened: what is good is shown, what is wrong said in a line."""

from __future__ import annotations

import gzip
import json
import random
from binascii import crc32
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeClock, FakeRun, describe

from agentrm_models.errors import DataError
from agentrm_tui.headless.display import JsonDisplay, PlainDisplay
from agentrm_tui.headless.running import show_run
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.codec import Codec
from agentrm_tui.runs.listing import list_runs
from agentrm_tui.runs.recording import Recording
from agentrm_tui.runs.store import load_state, read_events
from agentrm_tui.ui.app import AgentRMApp, real_surroundings
from agentrm_tui.ui.feed import Feed
from agentrm_tui.ui.screens.episode import EpisodeScreen
from agentrm_tui.ui.screens.launcher import Launcher
from agentrm_tui.ui.session import Surroundings
from agentrm_tui.ui.widgets.budget import Budget

GOLDEN = (Path(__file__).parent.parent / "runs" / "golden.jsonl").read_bytes().splitlines()


def beam_lines() -> list[bytes]:
    """A run of two episodes, line by line."""
    run = FakeRun(tasks=2).load().start_episode(0).beam(3).start_episode(1).beam(2)
    run.finish()
    codec = Codec()
    return [codec.encode(event).rstrip() for event in run.events]


WHOLE = beam_lines()

Record = dict[str, Any]
JUNK: tuple[Callable[[], Any], ...] = (
    lambda: 10**400,
    lambda: 1e308,
    lambda: -(10**18),
    lambda: -1,
    lambda: 0,
    lambda: None,
    lambda: True,
    lambda: "",
    lambda: "0",
    lambda: "0.7.1",
    lambda: "0." + "9" * 5_000,
    lambda: ".".join(["0"] * 40_000),
    lambda: "\x1b[31m\u202e" * 50,
    list,
    dict,
    lambda: json.loads("[" * 330 + "]" * 330),
)


def sealed(records: list[Record]) -> bytes:
    """Lines with right numbers and checksums, so that only what they say can be wrong."""
    lines = []
    for number, record in enumerate(records):
        body = json.dumps({**record, "seq": number}, ensure_ascii=True)[:-1].encode()
        lines.append(b'%s,"crc":"%08x"}\n' % (body, crc32(body)))
    return b"".join(lines)


def change_somewhere(value: Any, noise: random.Random) -> Any:
    """The value with one part of it replaced, left out or repeated."""
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [key for key in value if key not in ("seq", "run", "type", "version")]
    elif isinstance(value, list):
        parts = list(range(len(value)))
    if not parts or noise.random() < 0.25:
        if isinstance(value, list) and value:
            return noise.choice((value[:-1], value * 2, [*value, value[0]], value[::-1], []))
        if isinstance(value, int | float) and noise.random() < 0.5:
            return noise.choice((value * 1e6, -value, 1.7e308, 2**63))
        return noise.choice(JUNK)()
    part = noise.choice(parts)
    copy = value.copy()
    copy[part] = change_somewhere(copy[part], noise)
    return copy


def damaged(whole: list[bytes], noise: random.Random) -> bytes:
    """The file with one to three things wrong."""
    if noise.random() < 0.3:
        data = bytearray(b"\n".join(whole) + b"\n")
        place = noise.randrange(len(data))
        match noise.randrange(4):
            case 0:
                data[place] ^= 1 << noise.randrange(8)
            case 1:
                del data[place:]
            case 2:
                del data[place : place + noise.randrange(1, 300)]
            case _:
                data[place:place] = data[:place][-noise.randrange(1, 300) :]
        return bytes(data)
    records: list[Record] = [json.loads(line) for line in whole]
    for record in records:
        del record["crc"]
    for _ in range(noise.randint(1, 3)):
        place, other = noise.randrange(1, len(records)), noise.randrange(1, len(records))
        match noise.randrange(8):
            case 0:
                del records[place]
            case 1:
                records.insert(place, records[other])
            case 2:
                records[place], records[other] = records[other], records[place]
            case 3:
                records[place] = {**records[place], "episode": noise.choice(("", "0", "1", "e0", "e1", "nobody"))}
            case _:
                changed = change_somewhere(records[place], noise)
                records[place] = changed if isinstance(changed, dict) else records[place]
    return sealed(records)


def examples(count: int, seed: int) -> list[bytes]:
    noise = random.Random(seed)
    return [damaged(noise.choice((WHOLE, GOLDEN)), noise) for _ in range(count)]


def real(folder: Path) -> Surroundings:
    return real_surroundings()._replace(runs_folder=folder, describe=describe, memory=folder / "launcher.json")


def open_everywhere(path: Path) -> None:
    """Open a file in all that reads runs but the screen itself; only a DataError may come."""
    with suppress(DataError):
        list(read_events(path))
    with suppress(DataError):
        load_state(path)
    lines: list[str] = []
    for display in (PlainDisplay(lines.append), JsonDisplay(lines.append)):
        with suppress(DataError):
            show_run(display, path)
    assert all("\x1b" not in line for line in lines)
    for follow in (False, True):
        feed = Feed(Recording(path), FakeClock(), follow=follow)
        with suppress(DataError):
            feed.poll()
            for _ in range(3):
                feed.poll()
            for place in (0, len(feed.events) // 2, len(feed.events), 1):
                feed.seek(place)
                feed.poll()
            feed.seek_step(1)
            feed.seek_episode(1)
            feed.seek_episode(-1)


@pytest.mark.parametrize("seed", range(6))
def test_three_hundred_damaged_files_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "run.jsonl"
    for data in examples(50, seed):
        path.write_bytes(data)
        open_everywhere(path)
        assert len(list_runs(tmp_path)) == 1


async def test_the_screen_survives_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for data in examples(8, 100):
        path.write_bytes(data)
        app = AgentRMApp(real(tmp_path), replay=path, tick=False)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            await pilot.press(
                "home", "right", "right", "end", "left", "left_square_bracket", "right_square_bracket", "q"
            )
            await pilot.pause()
        assert app.return_code == 0


def unfitting() -> bytes:
    """A run whose later records cannot be applied."""
    records = [json.loads(line) for line in WHOLE]
    for record in records:
        del record["crc"]
    place = max(number for number, record in enumerate(records) if record["type"] == "scored")
    records[place]["values"] = [[0.5]]
    return sealed(records)


def first_bad(data: bytes, message: str, tmp_path: Path) -> int:
    """How many events are good, as the feed says it; and that it says what is wrong."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    feed = Feed(Recording(path), FakeClock(), follow=False)
    feed.poll()
    feed.seek(len(feed.events))
    feed.poll()
    assert feed.damage is not None
    good = len(feed.events)
    assert feed.position == good and not feed.behind
    assert str(feed.damage).startswith(f"{path}, line {good + 1}") and message in str(feed.damage)
    for place in range(good + 1):
        feed.seek(place)
        assert feed.position == place
    assert len(list(feed.events)) == good
    return good


def test_what_is_good_is_shown_up_to_the_bad_line(tmp_path: Path) -> None:
    changed = b"\n".join([*WHOLE[:9], WHOLE[9].replace(b"a", b"b"), *WHOLE[10:], b""])
    assert first_bad(changed, "checksum", tmp_path) == 9
    assert first_bad(unfitting(), "does not fit", tmp_path) > 9


def test_plain_replay_shows_what_is_good_and_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    for data in (unfitting(), b"\n".join([*WHOLE[:9], b"{}", b""])):
        path.write_bytes(data)
        lines: list[str] = []
        with pytest.raises(DataError, match=r"bad\.jsonl, line \d+") as refused:
            show_run(PlainDisplay(lines.append), path)
        assert len(lines) > 5 and "\n" not in str(refused.value)


async def test_a_damaged_recording_is_shown_with_a_lasting_line_and_leaves_with_code_3(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(unfitting())
    app = AgentRMApp(real(tmp_path), replay=path, tick=False)
    async with app.run_test(size=(160, 40)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, EpisodeScreen) and screen.view is not None
        assert "bad.jsonl, line" in str(screen.query_one(Budget).visual)
        await pilot.press("home", "end")
        assert "bad.jsonl, line" in str(screen.query_one(Budget).visual)
        await pilot.press("q")
        await pilot.pause()
    assert app.failure is not None and app.failure.exit_code == 3


@pytest.mark.parametrize("data", [b"hello\n", WHOLE[1] + b"\n"])
async def test_a_file_with_nothing_good_leads_back_to_the_launcher(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    app = AgentRMApp(real(tmp_path), tick=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        app.screen.post_message(Launcher.Replayed(path))
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, Launcher)
        assert any("bad.jsonl" in notice.message for notice in app._notifications)


@pytest.mark.parametrize("packed", [True, False])
def test_a_record_is_read_again_from_the_file(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / f"run.jsonl{'.gz' * packed}"
    data = b"\n".join([*WHOLE, b""])
    path.write_bytes(gzip.compress(data) if packed else data)
    recording = Recording(path)
    events = list(recording.read_all())
    assert recording.share == 1.0
    assert [recording.read(number) for number in range(len(events))] == events
    assert sum(map(recording.size, range(len(events)))) == len(data)


def test_a_record_that_is_changed_after_it_was_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    data = b"\n".join([*WHOLE, b""])
    path.write_bytes(data)
    recording = Recording(path)
    recording.at_once = 2_000
    feed = Feed(recording, FakeClock(), follow=False)
    while len(feed.events) < len(WHOLE):
        feed.poll()
    path.write_bytes(data.replace(b"Thought", b"thought"))
    feed.seek(len(feed.events))
    assert feed.damage is not None and "changed after it was read" in str(feed.damage)
    assert 0 < feed.position < len(WHOLE)
    assert isinstance(feed.events[0], ev.RunStarted)
