"""Every key of the episode screen, pressed: what is sent to the engine, and what the screen shows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from fake_run import FakeClock, FakeEngineLink, FakeReader, FakeRun, fake_plan, finished_run, running_run, surroundings
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from agentrm_tui.engine.commands import Command, Fork, Override, Pause, Resume, Rewind, Status, Step, Stop, Unprune
from agentrm_tui.runs.events import AnyEvent, Fault, Rewound, RunStarted
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.beam import Beam
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.screens.address import AddressScreen
from agentrm_tui.ui.screens.confirm import ConfirmScreen
from agentrm_tui.ui.screens.episode import EpisodeScreen
from agentrm_tui.ui.screens.help import HelpScreen
from agentrm_tui.ui.screens.launcher import OTHER, Launcher
from agentrm_tui.ui.screens.move import MoveScreen
from agentrm_tui.ui.widgets.budget import Budget
from agentrm_tui.ui.widgets.candidates import Candidates
from agentrm_tui.ui.widgets.search_tree import SearchTree

RUNNING = Status("running", "generating", 12, 64, FakeClock().now - 1.2, "e0", "propose", ("0",))
PAUSED = Status(
    "paused", "", 0, 0, FakeClock().now - 5, "e0", "propose", ("0",), {"0": ("move up", "move down", "turn [red]")}
)


def live_app(link: FakeEngineLink, events: list | FakeReader | None = None) -> AgentRMApp:
    return AgentRMApp(surroundings(events if events is not None else running_run(), link), plan=fake_plan(), tick=False)


def replay_app(events: list | None = None) -> AgentRMApp:
    return AgentRMApp(surroundings(events or finished_run()), replay=Path("x.jsonl"), tick=False)


async def opened(pilot: Pilot) -> EpisodeScreen:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, EpisodeScreen)
    return screen


@pytest.mark.parametrize(
    ("status", "key", "sent"),
    [
        (RUNNING, "space", [Pause()]),
        (PAUSED, "space", [Resume()]),
        (RUNNING, "n", [Step("request")]),
        (PAUSED, "N", [Step("environment")]),
        (RUNNING, "f", [Fork(to=23, episode="e0")]),
    ],
)
async def test_keys_that_send_one_command(status: Status, key: str, sent: list[Command]) -> None:
    link = FakeEngineLink(status)
    app = live_app(link)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert len(screen.session.feed.events) == 24
        await pilot.press(key)
        assert link.sent == sent


@pytest.mark.parametrize(
    ("key", "first", "extra"),
    [("", [], [Resume()]), ("n", [Step("request")], []), ("space", [Pause()], [])],
    ids=["going", "stepping", "paused"],
)
async def test_back_goes_to_the_step_before_and_keeps_going_if_it_was(
    key: str, first: list[Command], extra: list[Command]
) -> None:
    link = FakeEngineLink(RUNNING)
    app = live_app(link)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert screen.view is not None
        before = screen.view.tree[screen.view.path[-2]]
        await pilot.press(*([key] if key else []), "b")
        assert link.sent == [*first, Rewind(before.acted_at, "e0"), *extra]


async def test_space_goes_on_while_a_step_is_in_flight() -> None:
    link = FakeEngineLink(RUNNING)
    app = live_app(link)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("N", "space", "space")
        assert link.sent == [Step("environment"), Resume(), Pause()]


async def test_back_goes_to_the_selected_node() -> None:
    link = FakeEngineLink(PAUSED)
    app = live_app(link)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert screen.view is not None
        node = screen.view.tree[screen.view.path[2]]
        screen.select(node.id)
        await pilot.press("b")
        assert link.sent == [Rewind(node.acted_at, "e0"), Resume()]


async def test_keys_pressed_before_a_step_back_is_answered_mean_the_run_as_it_will_be() -> None:
    link = FakeEngineLink(PAUSED)
    reader = FakeReader(running_run())
    app = live_app(link, reader)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        screen.session.going = False
        assert screen.view is not None
        acted = [screen.view.tree[node] for node in screen.view.path if screen.view.tree[node].acted]
        assert len(acted) > 2
        await pilot.press("b", "b", "e", *"wait", "enter")
        back, further = acted[-2], acted[-3]
        assert link.sent[:2] == [Rewind(back.acted_at, "e0"), Rewind(further.acted_at, "e0")]
        assert isinstance(move := link.sent[2], Override)
        assert move.node == further.id

        reader.append(Rewound(episode="e0", to=back.acted_at), Rewound(episode="e0", to=further.acted_at))
        screen.refresh_run()
        await pilot.press("b")
        assert link.sent[3] == Rewind(acted[-4].acted_at if len(acted) > 3 else further.acted_at, "e0")


async def test_a_refused_step_back_leaves_the_keys_with_what_is_shown() -> None:
    link = FakeEngineLink(PAUSED)
    reader = FakeReader(running_run())
    app = live_app(link, reader)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert screen.view is not None
        last = screen.view.path[-1]
        await pilot.press("b")
        reader.append(Fault(episode="e0", message="refused"))
        screen.refresh_run()
        await pilot.press("e", *"wait", "enter")
        assert isinstance(move := link.sent[-1], Override)
        assert move.node == last


async def test_uncut_and_fork_act_on_the_selected_candidate() -> None:
    link = FakeEngineLink(PAUSED)
    app = live_app(link)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.press("u")
        assert link.sent == []
        cut = next(row for row in screen.query_one(Candidates).rows if row.mark == "cut")
        while screen.query_one(Candidates).cursor != cut.node:
            await pilot.press("down")
        await pilot.press("enter")
        assert screen.selected == cut.node
        await pilot.press("u", "f")
        assert screen.view is not None
        assert link.sent == [Unprune(cut.node, "e0"), Fork(screen.view.tree[cut.node].created, "e0")]


AT_END = Status("ended", since=FakeClock().now - 5, episode="e1")


def forked_run(ended: bool) -> list[AnyEvent]:
    """An episode that waits for its fork."""
    return FakeRun().load().start_episode(0).beam(2, finish=False).start_episode(1).beam(2, finish=ended).events


async def test_leaving_asks_while_another_episode_waits() -> None:
    link = FakeEngineLink(AT_END)
    app = live_app(link, forked_run(ended=True))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert screen.facts.ended and not screen.facts.over
        assert "space goes on with the one that waits" in screen.query_one(Budget).render().plain
        await pilot.press("q")
        assert isinstance(app.screen, ConfirmScreen)
        app.screen.dismiss(True)
        await pilot.pause()
        await app.workers.wait_for_complete()
    assert Resume() not in link.sent and Stop() in link.sent


async def test_leaving_after_the_last_step_does_not_ask() -> None:
    link = FakeEngineLink(AT_END)
    app = live_app(link, FakeRun().load().start_episode(1).beam(2).events)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert screen.facts.over
        await pilot.press("q")
        await app.workers.wait_for_complete()
    assert link.sent == [Resume()]


async def test_a_step_shows_the_episode_in_which_it_is_taken() -> None:
    link = FakeEngineLink(msgspec.structs.replace(PAUSED, episode="e1", actions={}))
    app = live_app(link, forked_run(ended=False))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert screen.view is not None and screen.view.id == "e1"
        await pilot.press("left_square_bracket")
        assert screen.view.id == "e0"
        assert "episode 2/2 · next: propose" in screen.query_one(Budget).render().plain
        await pilot.press("e")
        app.screen.query_one(Input).value = "move up"
        await pilot.press("enter")
        told = [str(notice.message) for notice in app._notifications]
        assert told == ["Your move waits until this episode goes on: episode 2/2 goes first."]
        await pilot.press("n")
        screen.refresh_run()
        assert screen.view.id == "e1"
        assert "episode 2/2" not in screen.query_one(Budget).render().plain


async def test_a_typed_move_is_sent_as_a_reply() -> None:
    link = FakeEngineLink(PAUSED)
    app = live_app(link)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        screen.select("0")
        await pilot.press("e")
        assert isinstance(app.screen, MoveScreen)
        await pilot.press(*"go [red]")
        app.screen.query_one("#thought", Input).value = "because"
        await pilot.press("enter")
        assert link.sent == [Override("0", "Thought: because\nAction: go [red]", "e0")]


async def test_a_valid_action_can_be_picked() -> None:
    link = FakeEngineLink(PAUSED)
    app = live_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        (await opened(pilot)).select("0")
        await pilot.press("e", *"TURN", "tab", "enter")
        await pilot.pause()
        assert link.sent == [Override("0", "Action: turn [red]", "e0")]


async def test_leaving_a_move_sends_nothing() -> None:
    link = FakeEngineLink(PAUSED)
    app = live_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("e", *"q?n", "escape")
        assert link.sent == []
        assert isinstance(app.screen, EpisodeScreen)


async def test_quitting_a_run_asks_and_stops_the_engine() -> None:
    link = FakeEngineLink(RUNNING)
    app = live_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("q")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("n")
        assert link.sent == []
        await pilot.press("q", "y")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert link.sent == [Stop()]
        assert link.closed
    assert app.return_value == 0


async def test_a_dead_engine_is_told_and_started_again_on_its_file() -> None:
    dead, fresh = FakeEngineLink(RUNNING), FakeEngineLink(PAUSED)
    started: list[tuple[object, ...]] = []
    reader = FakeReader(running_run())

    def start(plan: object, resume: Path | None, paused: bool, send_key: bool) -> FakeEngineLink:
        started.append((resume, paused))
        return dead if len(started) == 1 else fresh

    outside = surroundings(reader)._replace(start_engine=start)
    app = AgentRMApp(outside, plan=fake_plan(), tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        dead.alive = False
        screen.refresh_run()
        assert screen.facts.dead
        await pilot.press("space", "n")
        assert dead.sent == []
        reader.append(*running_run())
        await pilot.press("r")
        again = await opened(pilot)
        assert again is not screen
        assert again.session.link is fresh
    assert started == [(None, False), (dead.run_path, True)]


@pytest.mark.parametrize(
    ("policy", "reward", "key", "answer", "sent"),
    [
        ("http://other.example/v1#m", "", "k-1", "y", True),
        ("http://other.example/v1#m", "", "k-1", "n", False),
        ("bundled:small", "judge:https://other.example/v1", "k-1", "escape", False),
        ("http://other.example/v1#m", "", "", None, False),
        ("bundled:small", "bundled:small", "k-1", None, False),
    ],
)
async def test_a_key_goes_to_servers_that_a_file_names_only_when_the_person_says_so(
    monkeypatch: pytest.MonkeyPatch, policy: str, reward: str, key: str, answer: str | None, sent: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    started: list[tuple[bool, bool]] = []

    def start(plan: RunPlan, resume: Path | None, paused: bool, send_key: bool) -> FakeEngineLink:
        started.append((send_key, plan.load.trust_remote_code))
        return FakeEngineLink(PAUSED)

    events = running_run()
    first = events[0]
    assert isinstance(first, RunStarted)
    load = msgspec.structs.replace(first.plan.load, trust_remote_code=True)
    plan = msgspec.structs.replace(first.plan, policy=policy, reward=reward, load=load)
    events[0] = msgspec.structs.replace(first, plan=plan)
    app = AgentRMApp(surroundings(events)._replace(start_engine=start), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("r")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen) == (answer is not None)
        if answer is not None:
            assert started == []
            await pilot.press(answer)
        await app.workers.wait_for_complete()
    assert started == [(sent, False)]


async def test_panes_by_tab_and_number() -> None:
    app = live_app(FakeEngineLink(PAUSED))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        seen = [screen.current_pane]
        for key in ("tab", "tab", "shift+tab", "4", "5", "2", "3", "6", "tab", "1", "shift+tab"):
            await pilot.press(key)
            seen.append(screen.current_pane)
        assert seen == [
            "candidates",
            "transcript",
            "picture",
            "transcript",
            "picture",
            "values",
            "candidates",
            "transcript",
            "tree",
            "candidates",
            "map",
            "values",
        ]
        shown = [
            pane
            for pane in ("map", "candidates", "tree", "transcript", "picture", "values")
            if screen.query_one(f"#{pane}").region
        ]
        assert shown == ["values"]


async def test_the_tree_selects_and_escape_follows_again() -> None:
    app = live_app(FakeEngineLink(PAUSED))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.press("6", "up", "enter")
        tree = screen.query_one(SearchTree)
        assert screen.selected == tree.cursor
        assert screen.view is not None
        assert screen.view.focus == screen.selected
        await pilot.press("escape")
        assert screen.selected is None


async def test_closing_and_opening_a_subtree() -> None:
    app = live_app(FakeEngineLink(PAUSED))
    async with app.run_test(size=(200, 60)) as pilot:
        screen = await opened(pilot)
        await pilot.press("6")
        tree = screen.query_one(SearchTree)
        row = next(row for row in tree.rows[1:] if row.opened)
        inside = {child.id for child in screen.view.tree.children(row.node)}  # type: ignore[union-attr]

        def shown() -> set[str]:
            return {row.node for row in tree.rows} & inside

        tree.reveal(row.node)
        assert shown() == inside
        await pilot.press("minus")
        assert shown() == set()
        screen.select("0")
        await pilot.pause()
        assert shown() == set()
        tree.reveal(row.node)
        await pilot.press("plus")
        assert shown() == inside


async def test_help_and_copy() -> None:
    app = live_app(FakeEngineLink(PAUSED))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("3", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        screen.select("0.0")
        await pilot.press("c")
        assert screen.view is not None
        node = screen.view.tree["0.0"]
        assert app.clipboard.startswith(node.reply)


async def test_the_recording_keys() -> None:
    events = finished_run(tasks=2)
    app = replay_app(events)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        feed = screen.session.feed
        places = {}
        for key in ("home", "right", "right", "left", "end", "left_square_bracket", "right_square_bracket"):
            await pilot.press(key)
            places[key] = feed.position
        assert places["home"] == 0
        assert places["left"] == 1
        assert places["end"] == len(events)
        first = max(number for number, event in enumerate(events) if event.episode == "e0")
        second = max(number for number, event in enumerate(events) if event.episode == "e1")
        assert places["left_square_bracket"] == first + 1
        assert places["right_square_bracket"] == second + 1
        await pilot.press("home", "shift+right")
        assert type(events[feed.position - 1]).__name__ == "Acted"
        there = feed.position
        await pilot.press("shift+right", "shift+left")
        assert feed.position == there
        await pilot.press("comma", "comma")
        assert feed.speed == 0.25
        await pilot.press("full_stop", "full_stop", "full_stop")
        assert feed.speed == 2.0
        await pilot.press("home", "space")
        assert feed.playing
        await pilot.press("space")
        assert not feed.playing
        await pilot.press("n", "N", "b", "u", "f", "e")
        assert app.screen is screen


async def test_an_unfinished_recording_can_be_gone_on_with() -> None:
    link = FakeEngineLink(PAUSED)
    app = AgentRMApp(surroundings(FakeReader(running_run()), link), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.press("r")
        again = await opened(pilot)
        assert again is not screen
        assert again.session.live


async def test_episodes_of_a_live_run_can_be_switched() -> None:
    run = FakeRun(tasks=2).load().start_episode(0).beam(3).start_episode(1).beam(2, finish=False)
    app = live_app(FakeEngineLink(msgspec.structs.replace(RUNNING, episode="e1")), run.events)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert screen.view is not None
        assert screen.view.id == "e1"
        await pilot.press("left_square_bracket")
        assert screen.view.id == "e0"
        await pilot.press("right_square_bracket")
        assert screen.view.id == "e1"


async def test_a_new_event_moves_the_live_screen_and_not_the_selection() -> None:
    whole = running_run()
    reader = FakeReader(whole[:12])
    app = live_app(FakeEngineLink(RUNNING), reader)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        screen.select("0.0")
        reader.append(*whole[12:])
        screen.refresh_run()
        assert screen.session.feed.position == len(whole)
        assert screen.selected == "0.0"


async def test_the_launcher_starts_what_is_filled_in(tmp_path: Path) -> None:
    plans = []

    def start(plan: object, resume: Path | None, paused: bool, send_key: bool) -> FakeEngineLink:
        plans.append((plan, paused))
        return FakeEngineLink(PAUSED)

    outside = surroundings(running_run(), folder=tmp_path)._replace(start_engine=start)
    app = AgentRMApp(outside, tick=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        assert isinstance(app.screen, Launcher)
        app.screen.query_one("#policy", Input).value = "expert"
        app.screen.query_one("#episodes", Input).value = "2"
        await pilot.press("ctrl+s")
        await opened(pilot)
    (plan, paused) = plans[0]
    assert not paused
    assert (plan.policy, plan.search) == ("expert", Beam(beam=(5, 5)))
    assert plan.tasks == ("maze-4:9000000", "maze-5:9000001")
    remembered = msgspec.json.decode((tmp_path / "launcher.json").read_bytes())
    assert remembered["policy"] == "expert"


async def test_the_launcher_takes_an_address(tmp_path: Path) -> None:
    app = AgentRMApp(surroundings([], folder=tmp_path), tick=False)
    address = "openenv:http://127.0.0.1:1"
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        launcher = app.screen
        assert isinstance(launcher, Launcher)
        listed = launcher.query_one("#environment", Select)
        listed.value = OTHER
        await pilot.pause()
        assert isinstance(app.screen, AddressScreen)
        await pilot.press("escape")
        await pilot.pause()
        assert listed.value == "maze"
        listed.value = OTHER
        await pilot.pause()
        app.screen.query_one(Input).value = f" {address} "
        await pilot.press("enter")
        await pilot.pause()
        await app.workers.wait_for_complete()
        assert app.screen is launcher and listed.value == address
        await pilot.press("ctrl+s")
        await pilot.pause()
        await app.workers.wait_for_complete()
    assert msgspec.json.decode((tmp_path / "launcher.json").read_bytes())["environment"] == address


async def test_the_launcher_refuses_a_wrong_number(tmp_path: Path) -> None:
    app = AgentRMApp(surroundings([], folder=tmp_path), tick=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        app.screen.query_one("#seed", Input).value = "-3"
        await pilot.press("ctrl+s")
        await app.workers.wait_for_complete()
        assert isinstance(app.screen, Launcher)
        assert any("not a whole number" in item.message for item in app._notifications)


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("policy", "expert", "The environment's own expert."),
        ("policy", "expertt", "Did you mean 'expert'?"),
        ("policy", "random", "'random' is a reward model, not a policy"),
        ("reward", "random", "Random scores"),
        ("reward", "bundled:smal", "Did you mean 'bundled:small'?"),
        ("policy", "http://me:hunter2@host/v1", "cannot hold a password"),
    ],
)
async def test_the_launcher_says_what_a_model_is_while_it_is_typed(
    tmp_path: Path, field: str, typed: str, said: str
) -> None:
    app = AgentRMApp(surroundings([], folder=tmp_path), tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        entry = app.screen.query_one(f"#{field}", Input)
        entry.focus()
        await pilot.pause()
        entry.value = typed
        await pilot.pause()
        hint = str(app.screen.query_one("#hint", Static).content)
        assert said in hint and "hunter2" not in hint
