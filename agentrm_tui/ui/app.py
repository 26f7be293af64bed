"""The app: opens the launcher or a run, owns the engines that it starts, and ends them when it is left.

The episode screen and the engine's link are imported when a run is opened, so that the launcher is painted sooner.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.screen import Screen

from agentrm_models.errors import AgentRMError
from agentrm_models.terminal_text import clean, one_line, strip_controls
from agentrm_tui.runs.events import AnyEvent
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.recording import Recording
from agentrm_tui.runs.store import runs_folder
from agentrm_tui.settings import launcher_memory
from agentrm_tui.ui import catalog
from agentrm_tui.ui.choices import load_choices, save_theme
from agentrm_tui.ui.drawn_text import SafeText
from agentrm_tui.ui.screens.launcher import Launcher
from agentrm_tui.ui.session import EngineWanted, Left, Link, Session, Surroundings, Unreadable, end_engine

if TYPE_CHECKING:
    from agentrm_tui.ui.palette import ActionCommands
    from agentrm_tui.ui.screens.episode import EpisodeScreen

DEFAULT_THEME = "tokyo-night"
PLAIN_THEME = "ansi-dark"
"""For terminals of 16 colours: the terminal's own."""
NOTICE_CHARACTERS = 600
"""Characters of a notice at most: it lies over the run."""


def _action_commands() -> type[ActionCommands]:
    from agentrm_tui.ui.palette import ActionCommands

    return ActionCommands


class AgentRMApp(App[int]):
    """Screens over one or several runs.

    Args:
        surroundings: Files, engine and clock.
        plan: Start this run at once.
        replay: Show this recording at once.
        attach: Follow this file, which another process may still write.
        paused: Start `plan` paused.
        in_terminal: Use no more colours than the terminal has; pictures have all.
        painted: Called once, after the first paint.

    Attributes:
        failure: Why the file that was asked for cannot be shown, or only in part; for when the screen is gone.
    """

    TITLE = "agentrm"
    CSS_PATH = "styles.tcss"
    COMMANDS: ClassVar[Any] = {_action_commands}
    NOTIFICATION_TIMEOUT: ClassVar[float] = 3
    """Seconds; notices lie over the last lines."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        plan: RunPlan | None = None,
        replay: Path | None = None,
        attach: Path | None = None,
        paused: bool = False,
        tick: bool = True,
        in_terminal: bool = False,
        painted: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.surroundings = surroundings
        self._first_plan, self._first_replay, self._first_attach, self._first_paused = plan, replay, attach, paused
        self._ticking = tick
        self._safe_text = SafeText()
        self._painted = painted
        self.failure: AgentRMError | None = None
        self._links: dict[Link, Session | None] = {}
        few_colours = in_terminal and self.console.color_system in ("standard", "windows", None)
        remembered = load_choices(surroundings.memory).theme
        known = remembered in self.available_themes
        self._choose_theme(PLAIN_THEME if few_colours else remembered if known else DEFAULT_THEME)
        self._chosen_theme = self.theme

    def _choose_theme(self, theme: str) -> None:
        """Set the first theme before any style is read: a change later on reads and applies all of them twice."""
        self.set_reactive(App.theme, theme)
        self.stylesheet.set_variables(self.get_css_variables())

    def watch_theme(self, theme: str) -> None:
        """Remember the theme that a person chose."""
        if self.is_running and theme != self._chosen_theme:
            self._chosen_theme = theme
            save_theme(self.surroundings.memory, theme)

    def get_default_screen(self) -> Screen[Any]:
        """The launcher is the first screen where nothing was asked for: no empty one is styled and painted before."""
        asked = (self._first_plan, self._first_replay, self._first_attach)
        return super().get_default_screen() if any(asked) else Launcher(self.surroundings)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """All that is drawn goes through the screen's way out for text."""
        return [*super().get_line_filters(), self._safe_text]

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a notice of at most some lines; unlike in other apps it is no markup unless it says so."""
        super().notify(
            clean(message, NOTICE_CHARACTERS), title=one_line(title), severity=severity, timeout=timeout, markup=markup
        )

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a whole text without what a terminal would obey when it is pasted."""
        super().copy_to_clipboard(strip_controls(text))

    def action_help(self) -> None:
        """List the keys of a screen that has no help of its own."""
        from agentrm_tui.ui.actions import actions_behind
        from agentrm_tui.ui.screens.help import HelpScreen

        keys = actions_behind(self.screen.BINDINGS)
        if keys is not None:
            self.push_screen(HelpScreen(keys, getattr(self.screen, "facts", None)))

    def on_mount(self) -> None:
        """Open what was asked for."""
        if self._first_plan is not None:
            self._start_run(self._first_plan, self._first_paused)
        elif self._first_replay is not None:
            self._open(Session(self._first_replay, self.surroundings, follow=False))
        elif self._first_attach is not None:
            self._open(Session(self._first_attach, self.surroundings, follow=True))
        if self._painted is not None:
            self.call_after_refresh(self._painted)

    @on(Launcher.Chosen)
    def _chosen(self, message: Launcher.Chosen) -> None:
        self._start_run(message.plan, message.paused)

    @on(Launcher.Replayed)
    def _replayed(self, message: Launcher.Replayed) -> None:
        self._open(Session(message.path, self.surroundings, follow=False))

    @on(Left)
    def _left(self) -> None:
        screen = self._shown_run()
        if screen is not None:
            self._leave(screen)

    @on(Unreadable)
    def _unreadable(self, message: Unreadable) -> None:
        """Say why a file cannot be shown: in the launcher, or as the program's last line."""
        launcher, screen = self._launcher(), self._shown_run()
        if launcher is None or screen is None:
            self._give_up(message.error)
        else:
            self.notify(str(message.error), severity="error", timeout=10)
            self._leave(screen)

    def _launcher(self) -> Launcher | None:
        return next((item for item in self.screen_stack if isinstance(item, Launcher)), None)

    def _give_up(self, error: AgentRMError) -> None:
        self.failure = error
        self.exit()

    @on(EngineWanted)
    def _engine_wanted(self) -> None:
        screen = self._shown_run()
        if screen is not None:
            self._restart(screen)

    @work(exclusive=True, group="engine")
    async def _start_run(self, plan: RunPlan, paused: bool) -> None:
        link = await self._start_engine(plan, None, paused, True)
        if link is not None:
            going, path = not paused, link.run_path
            self._open(Session(path, self.surroundings, follow=True, link=link, plan=plan, going=going, send_key=True))
        elif self._first_plan is not None:
            self.exit(3)

    @work(exclusive=True, group="engine")
    async def _restart(self, screen: EpisodeScreen) -> None:
        """Start an engine that goes on with the file of a screen, and show the file anew."""
        old = screen.session
        run = old.feed.state.run
        plan = old.plan or (run.plan.as_found() if run is not None else None)
        if plan is None:
            self.notify("The run never started: nothing can be gone on with.", severity="warning")
            return
        send_key = await self._may_send_key(plan) if old.send_key is None else old.send_key
        if old.link is not None:
            await self._close(old.link)
        link = await self._start_engine(plan, old.path, True, send_key)
        if link is not None:
            path = link.run_path
            session = Session(
                path, self.surroundings, follow=True, link=link, plan=plan, going=False, send_key=send_key
            )
            self._note(session)
            await self.switch_screen(self._episode_screen(session))

    async def _may_send_key(self, plan: RunPlan) -> bool:
        """Ask before a key goes to servers that only a run file names."""
        from agentrm_models.server_address import KEY_VARIABLE
        from agentrm_models.server_spec import needs_key, servers_in
        from agentrm_tui.ui.screens.confirm import ConfirmScreen

        if not needs_key(plan.policy, plan.reward):
            return False
        servers = one_line(" and ".join(servers_in(plan.policy, plan.reward)), NOTICE_CHARACTERS)
        question = f"This run file names {servers}, which you did not type. Send the key in {KEY_VARIABLE} there?"
        answer: bool = await self.push_screen_wait(ConfirmScreen(question, "Send it", "Go on without"))
        return answer

    @work
    async def _leave(self, screen: EpisodeScreen) -> None:
        """Go back to the launcher, or out where there is none."""
        link = screen.session.link
        launcher, damage = self._launcher(), screen.session.feed.damage
        if launcher is None:
            if link is not None:
                await self._close(link)
            if damage is not None:
                self._give_up(damage)
            else:
                self.exit(0)
            return
        self.pop_screen()
        if link is not None:
            await self._close(link)
        launcher.load_runs()

    def _open(self, session: Session) -> None:
        self._note(session)
        self.push_screen(self._episode_screen(session))

    def _episode_screen(self, session: Session) -> EpisodeScreen:
        from agentrm_tui.ui.screens.episode import EpisodeScreen

        return EpisodeScreen(session, tick=self._ticking)

    def _shown_run(self) -> EpisodeScreen | None:
        from agentrm_tui.ui.screens.episode import EpisodeScreen

        return self.screen if isinstance(self.screen, EpisodeScreen) else None

    async def _start_engine(self, plan: RunPlan, resume: Path | None, paused: bool, send_key: bool) -> Link | None:
        try:
            link = await asyncio.to_thread(self.surroundings.start_engine, plan, resume, paused, send_key)
        except AgentRMError as error:
            self.notify(str(error), severity="error", markup=False, timeout=30)
            return None
        self._links[link] = None
        return link

    def _note(self, session: Session) -> None:
        """Remember whose engine it is."""
        if session.link is not None:
            self._links[session.link] = session

    async def _close(self, link: Link) -> None:
        if link in self._links:
            session = self._links.pop(link)
            await asyncio.to_thread(end_engine, link, session is not None and session.over)

    def close_engines(self) -> None:
        """End every engine that is still there."""
        while self._links:
            link, session = self._links.popitem()
            end_engine(link, session is not None and session.over)


class RunTail(Recording):
    """Reads a run file that an engine may not have begun to write yet, or may never have finished."""

    def poll(self) -> list[AnyEvent]:
        """What is new; nothing before the file exists."""
        return super().poll() if self.path.exists() else []


def _start_engine(plan: RunPlan, resume: Path | None, paused: bool, send_key: bool) -> Link:
    from agentrm_tui.engine.link import EngineLink

    # With several tasks the next one starts by itself; after a single one a person may still want to go back.
    wait_at_end = len(plan.tasks) == 1
    return EngineLink.start(plan, paused=paused, resume=resume, wait_at_end=wait_at_end, send_key=send_key)


def real_surroundings() -> Surroundings:
    """Files of this user, real engines, the wall clock."""
    return Surroundings(
        open_run=RunTail,
        start_engine=_start_engine,
        describe=catalog.ask,
        clock=time.time,
        runs_folder=runs_folder(),
        memory=launcher_memory(),
    )
