"""The panes of the episode screen: one layout for live runs, attached runs and recordings."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Resize
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import Footer

from agentrm_models.errors import DataError
from agentrm_models.terminal_text import one_line
from agentrm_tui.runs.state import EpisodeState
from agentrm_tui.search.tree import NodeId
from agentrm_tui.terminal_text import duration
from agentrm_tui.ui.actions import find_action
from agentrm_tui.ui.feed import POLL_SECONDS, Snapshot
from agentrm_tui.ui.keys.episode import EPISODE
from agentrm_tui.ui.screens.layout import wear_layout
from agentrm_tui.ui.session import Facts, Session, Unreadable
from agentrm_tui.ui.views import EpisodeView, view_episode
from agentrm_tui.ui.widgets.bars import PANES, PaneTabs, Scrubber, TitleBar
from agentrm_tui.ui.widgets.budget import Activity, Budget, activity
from agentrm_tui.ui.widgets.candidates import Candidates
from agentrm_tui.ui.widgets.map_pane import SearchMapPane
from agentrm_tui.ui.widgets.picture import PicturePane
from agentrm_tui.ui.widgets.search_tree import SearchTree
from agentrm_tui.ui.widgets.transcript import Transcript
from agentrm_tui.ui.widgets.value_plot import ValuePlot

HURRY_SECONDS = 0.01
"""Pause between two polls while a long file is read."""
BREATH_SECONDS = 0.8
"""Between two changes of what is being asked for, on the map."""
WIDE, BROAD, TALL = 100, 160, 30
"""From WIDE×TALL cells on all panes are shown at once, from BROAD on in three columns."""


class EpisodePanes(Screen[None]):
    """Polls the session on a timer and hands one view to all panes.

    Attributes:
        selected: The node that the person selected; None follows the best path.
        episode: The episode that the person wants to see; empty follows the newest.
        actions: Valid actions by episode and node, as far as the engine has told them.
    """

    AUTO_FOCUS: ClassVar[str | None] = "#candidates"

    def __init__(self, session: Session, *, tick: bool = True) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide"), (BROAD, "-broad")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (TALL, "-tall")]
        self.session = session
        self.snapshot: Snapshot | None = None
        self.view: EpisodeView | None = None
        self.selected: NodeId | None = None
        self.episode = ""
        self.facts = Facts()
        self.actions: dict[tuple[str, NodeId], tuple[str, ...]] = {}
        self._ticking = tick
        self._drawn: tuple[object, ...] = ()
        self._faults = 0
        self._told: set[str] = set()
        self._opened_at: float | None = None
        self._unreadable = False
        self._hurrying = False
        self._damage_told = False
        self._shown: EpisodeState | None = None

    def compose(self) -> ComposeResult:
        """Title, panes, scrubber (recordings), budget, keys."""
        wear_layout(self)
        yield TitleBar(id="title")
        yield PaneTabs(id="tabs")
        with Container(id="panes"):
            with Container(id="left"):
                yield PicturePane(id="picture")
                yield ValuePlot(id="values")
            with Container(id="right"):
                with Container(id="middle"):
                    yield SearchMapPane(id="map")
                    yield SearchTree(id="tree")
                    yield Candidates(id="candidates")
                yield Transcript(id="transcript")
        yield Scrubber(id="scrubber")
        yield Budget(id="budget")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Start with the candidates, and look at the file at once."""
        self.show_only("candidates")
        self.refresh_run()
        if self.session.replay:
            self.session.feed.seek(len(self.session.feed.events))
            self.refresh_run()
        if self._ticking:
            self.set_interval(POLL_SECONDS, self.refresh_run)
            self.set_interval(BREATH_SECONDS, self._breathe)

    def on_resize(self, event: Resize) -> None:
        """Bars are laid out for the width."""
        self._drawn = ()
        self.call_after_refresh(self.refresh_run)

    def refresh_run(self) -> None:
        """Read what is new and paint once."""
        if self._unreadable:
            return
        try:
            snapshot = self.session.poll()
            self._shown = self.session.feed.episode(self._shown_episode(snapshot))
        except DataError as error:
            self._unreadable = True
            self.post_message(Unreadable(error))
            return
        self.snapshot = snapshot
        self._hurry()
        if snapshot.status is not None:
            for node, actions in snapshot.status.actions.items():
                self.actions[snapshot.status.episode, node] = actions
        if self._opened_at is None:
            self._opened_at = snapshot.now
        with self.app.batch_update():
            self._show_episode(snapshot)
            self._show_bars(snapshot)
        self._report_faults(snapshot)
        facts = self.session.facts(snapshot, self.view.id if self.view else "", self.selected)
        if facts != self.facts:
            self.facts = facts
            self.refresh_bindings()

    def _hurry(self) -> None:
        """Come back at once while a long file is read; keys are answered in between."""
        if self._ticking and self.session.feed.behind and not self._hurrying:
            self._hurrying = True
            self.set_timer(HURRY_SECONDS, self._read_on)

    def _read_on(self) -> None:
        self._hurrying = False
        self.refresh_run()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what applies now is bound, shown and offered."""
        found = find_action(EPISODE, action)
        return any(item.applies(self.facts) for item in found) if found else True

    def select(self, node: NodeId | None) -> None:
        """Select a node (None follows the best path) and repaint."""
        self.selected = node
        self._drawn = ()
        self.refresh_run()
        if node is not None:
            self.query_one(SearchTree).reveal(node)
            self.query_one(SearchMapPane).reveal(node)

    def show_only(self, pane: str) -> None:
        """Make a pane the one that small terminals show, and focus it."""
        if pane in ("map", "tree"):
            self.set_class(pane == "tree", "-tree-view")
        for name in PANES:
            self.query_one(f"#{name}").set_class(name == pane, "-current")
        for part in ("left", "right", "middle"):
            container = self.query_one(f"#{part}")
            container.set_class(bool(container.query(f"#{pane}")), "-current")
        self.query_one(PaneTabs).show(pane)
        self.query_one(f"#{pane}").focus()

    @property
    def current_pane(self) -> str:
        """The pane that has the focus, or that small terminals show."""
        if self.focused is not None and self.focused.id in PANES:
            return self.focused.id
        return next((name for name in PANES if self.query_one(f"#{name}").has_class("-current")), "candidates")

    @property
    def notices(self) -> tuple[str, ...]:
        """What was said about the run and the shown episode, the most telling last: it stands in the budget line."""
        state = self.session.feed.state
        loaders = [item.notice for item in state.loading.values()]
        loaders += [item.notice for item in sorted(state.noticed, key=lambda item: item.loud)]
        faults = [fault.message for fault in state.faults if not fault.episode]
        shown = self.view.notices if self.view is not None else ()
        feed = self.session.feed
        said = (
            (*loaders, feed.notice, *faults, *shown)
            if feed.damage is None
            else (*loaders, *faults, *shown, feed.notice)
        )
        return tuple(filter(None, said))

    @on(Candidates.Selected)
    @on(SearchTree.Selected)
    @on(SearchMapPane.Selected)
    def _node_selected(self, message: Candidates.Selected | SearchTree.Selected | SearchMapPane.Selected) -> None:
        self.select(message.node)

    @on(PaneTabs.Picked)
    def _tab_picked(self, message: PaneTabs.Picked) -> None:
        self.show_only(message.pane)

    @on(Scrubber.Moved)
    def _scrubbed(self, message: Scrubber.Moved) -> None:
        self.session.feed.seek(round(message.share * len(self.session.feed.events)))
        self.refresh_run()

    def _show_episode(self, snapshot: Snapshot) -> None:
        state = snapshot.state
        waiting = self._waiting_words(snapshot)
        shown = self._shown
        key = (snapshot.version, shown.id if shown else "", self.selected, waiting if shown is None else "", self.size)
        if key == self._drawn:
            if self.view is None or not self.view.candidates:
                self.query_one(Candidates).show(self.view, waiting)
            return
        self._drawn = key
        if shown is not None and self.selected is not None and self.selected not in shown.tree:
            self.selected = None
        self.view = view_episode(shown, self.selected) if shown is not None else None
        self.query_one(PicturePane).show(self.view)
        self.query_one(Candidates).show(self.view, waiting)
        tree, drawn = self.query_one(SearchTree), self.query_one(SearchMapPane)
        tree.show(self.view)
        drawn.show(self.view, self._asked(snapshot))
        if self.view is not None and self.selected is None:
            tree.reveal(self.view.focus)
            drawn.reveal(self.view.focus)
        self.query_one(Transcript).show(self.view, self.selected is not None)
        judged = state.run is None or state.run.plan.search.needs_reward
        self.query_one(ValuePlot).show(self.view, judged=judged)

    def _asked(self, snapshot: Snapshot) -> tuple[NodeId, ...]:
        """The nodes of the request that is being answered in the shown episode."""
        status, shown = snapshot.status, self.view.id if self.view is not None else ""
        if status is None or status.phase != "running" or status.episode != shown:
            return ()
        return status.nodes

    def _breathe(self) -> None:
        if self.snapshot is not None:
            self.query_one(SearchMapPane).pulse(self._asked(self.snapshot))

    def _shown_episode(self, snapshot: Snapshot) -> str:
        if self.session.replay:
            return self.session.feed.shown_episode()
        state, status = snapshot.state, snapshot.status
        if not self.episode and status is not None and status.episode in state.episodes:
            return status.episode
        return self.episode or (state.current.id if state.current is not None else "")

    def waits_for(self, episode: str) -> str:
        """Which episode is driven before this one goes on, in words; empty where it is this one."""
        status = self.snapshot.status if self.snapshot is not None else None
        episodes = list(self.session.feed.state.episodes)
        if status is None or status.episode not in episodes or status.episode == episode:
            return ""
        return f"episode {episodes.index(status.episode) + 1}/{len(episodes)}"

    def _show_bars(self, snapshot: Snapshot) -> None:
        state = snapshot.state
        self.query_one(TitleBar).show(state, self.view, self.session.replay)
        notice = one_line(self.notices[-1]) if self.notices else ""
        driven = self.waits_for(self.view.id) if self.view is not None and self.session.live else ""
        doing = self._reading(activity(self.session, snapshot, driven))
        self.query_one(Budget).show(doing, state.ledger, snapshot.elapsed, notice)
        scrubber = self.query_one(Scrubber)
        if scrubber.display != self.session.replay:
            scrubber.display = self.session.replay
        if self.session.replay:
            feed = self.session.feed
            scrubber.show(snapshot.position, snapshot.total, state.clock, feed.playing, feed.speed)

    def _reading(self, doing: Activity) -> Activity:
        """What a person should know first: that the file is damaged where one stands, or is still being read."""
        feed = self.session.feed
        if feed.damage is not None and feed.position == len(feed.events):
            return doing._replace(what=one_line(feed.notice))
        if feed.behind and self.session.link is None:
            return doing._replace(what=f"reading {feed.progress:.0%}")
        return doing

    def _waiting_words(self, snapshot: Snapshot) -> str:
        """What an empty table says: what is being loaded and for how long, or what comes next."""
        status = snapshot.status
        loading = one_line(status.what) if status is not None and status.phase == "loading" else ""
        since = status.since if status is not None and status.since else self._opened_at or snapshot.now
        elapsed = duration(snapshot.now - since)
        done = [
            f"✓ {item.what} {one_line(item.name, 60)} loaded in {duration(item.milliseconds / 1000)}"
            for item in snapshot.state.loading.values()
        ]
        if self.session.dead:
            return "The engine stopped. What was done is in the file; r starts it again."
        if self.session.replay:
            return "Nothing proposed yet at this point of the recording."
        if status is not None and status.phase == "waiting":
            return "Your turn: e types or picks your move."
        if snapshot.state.run is None and not loading:
            return f"Starting the engine… {elapsed}"
        if loading:
            return "\n".join([*done, f"◌ loading {loading}… {elapsed}"])
        return "\n".join([*done, "Waiting for the first proposal…"])

    def _report_faults(self, snapshot: Snapshot) -> None:
        """Tell faults, and what a model said about itself or found out, once."""
        feed = self.session.feed
        if feed.damage is not None and not self._damage_told:
            self._damage_told = True
            self.notify(one_line(feed.notice), severity="error", markup=False, timeout=10)
        faults = snapshot.state.faults
        for fault in faults[self._faults :]:
            text = one_line(f"{fault.message}. {fault.remedy}" if fault.remedy else fault.message)
            self.notify(text, severity="error" if fault.fatal else "warning", markup=False, timeout=10)
        self._faults = len(faults)
        said = [(item.notice, False) for item in snapshot.state.loading.values() if item.notice]
        for notice, loud in (*said, *((item.notice, item.loud) for item in snapshot.state.noticed)):
            if notice not in self._told:
                self._told.add(notice)
                severity: SeverityLevel = "error" if loud else "warning"
                self.notify(one_line(notice), severity=severity, markup=False, timeout=30 if loud else 10)
