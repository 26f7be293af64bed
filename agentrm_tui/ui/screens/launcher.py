"""The launcher: choose what to watch, or a recording to look at again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.suggester import SuggestFromList
from textual.widgets import Button, Footer, Input, OptionList, Select, Static
from textual.widgets.option_list import Option

from agentrm_models.errors import AgentRMError, UsageError
from agentrm_models.terminal_text import one_line
from agentrm_tui.environments.registry import address_kinds, environment_names
from agentrm_tui.runs.listing import RunSummary, list_runs
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import SearchField, fields_of, flags
from agentrm_tui.search.registry import ALGORITHMS
from agentrm_tui.ui.actions import bindings
from agentrm_tui.ui.catalog import Offer
from agentrm_tui.ui.choices import (
    MIX,
    Choices,
    known_policies,
    known_rewards,
    load_choices,
    plan_from,
    save_choices,
    typed_settings,
    unlearned,
    usual_policy,
    usual_reward,
    what_it_is,
)
from agentrm_tui.ui.recent_runs import run_line
from agentrm_tui.ui.screens.address import AddressScreen
from agentrm_tui.ui.screens.layout import wear_layout
from agentrm_tui.ui.session import Surroundings

RUNS_SHOWN = 100
OTHER = "another, by address…"
"""Entry of the list of environments that asks for a file or a server."""
_LABELS = ("Environment", "Level", "First seed", "Episodes", "Policy", "Reward model", "Search")
_HINTS = {
    "environment": "The world the agent acts in; the last entry takes a file or a server of yours.",
    "level": f"One kind of task, or {MIX}: the levels in turn.",
    "seed": "Any whole number; the same seed is the same task.",
    "episodes": "How many tasks, one after another.",
    "policy": "Who proposes actions: a bundled model, a folder, a .gguf, hf:ORG/REPO, http://…, human, expert.",
    "reward": "Who judges them: a bundled model, a folder of a classifier, http://…, implicit:…, judge:…, random.",
    "algorithm": "How candidates are searched.",
    "temperature": "Of sampling; 0 is always the likeliest token.",
    "recent": "enter replays a run.",
    "start": "enter starts; ctrl+s starts from any field.",
    "start_paused": "Starts and waits at the first request: n steps, space goes on.",
}


class Launcher(Screen[None]):
    """A form of one line each, and the recent runs beside (or below) it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("launcher")
    AUTO_FOCUS: ClassVar[str | None] = "#start"

    class Chosen(Message):
        """A run was put together."""

        def __init__(self, plan: RunPlan, paused: bool) -> None:
            self.plan, self.paused = plan, paused
            super().__init__()

    class Replayed(Message):
        """A recording was picked."""

        def __init__(self, path: Path) -> None:
            self.path = path
            super().__init__()

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
        self._outside = surroundings
        self._choices = load_choices(surroundings.memory)
        self._offer: Offer | None = None
        self._runs: list[RunSummary] = []
        self._listed = False

    def compose(self) -> ComposeResult:
        """Title, form, recent runs, hint, keys."""
        wear_layout(self)
        names = environment_names()
        remembered = self._choices
        environment = remembered.environment
        named = environment.partition("+")[0] in names or environment.partition(":")[0] in address_kinds()
        if environment not in names and named and not environment.isalpha():
            names = (*names, environment)
        elif environment not in names:
            environment = _first_environment(names)
        self._choices = msgspec.structs.replace(remembered, environment=environment)
        policies, rewards = known_policies(), known_rewards()
        yield Static(
            Content.assemble(
                ("agentrm", "bold $accent"), ("  watch a policy search, scored by a reward model", "$foreground 62%")
            ),
            id="title",
        )
        with Container(id="middle"), Container(id="launcher"):
            with VerticalScroll(id="form", can_focus=False) as form:
                form.border_title = "New run"
                with Horizontal(id="rows"):
                    yield Static("", id="labels", markup=False)
                    with Vertical(id="fields"):
                        yield from self._fields(names, policies, rewards)
                with Horizontal(classes="buttons"):
                    yield Button("Start", id="start", variant="primary", compact=True)
                    yield Button("Start paused", id="start_paused", compact=True)
            about = Static("", id="about", markup=False)
            about.border_title = "About this environment"
            runs = OptionList(id="recent", markup=False)
            runs.border_title = "Recent runs"
            yield Vertical(about, runs, id="aside")
        yield Static("", id="hint", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def _fields(self, names: tuple[str, ...], policies: list[str], rewards: list[str]) -> ComposeResult:
        kept = self._choices
        policy = kept.policy or usual_policy(kept.environment)
        reward = kept.reward or usual_reward(kept.environment)
        yield _select("environment", (*names, OTHER), kept.environment)
        yield _select("level", (kept.level,), kept.level)
        yield _number(kept.seed, "seed")
        yield _number(kept.episodes, "episodes")
        yield Input(policy, suggester=SuggestFromList(policies), compact=True, id="policy")
        yield Input(reward, suggester=SuggestFromList(rewards), compact=True, id="reward")
        yield _select("algorithm", tuple(ALGORITHMS), kept.algorithm)
        typed = typed_settings(kept, kept.algorithm)
        for field, _ in flags().values():
            yield _setting(field, typed.get(field.name, ""))
        yield Input(f"{kept.temperature:g}", type="number", compact=True, id="temperature")

    def on_mount(self) -> None:
        """Name the numbers, then ask for levels and runs in the background."""
        self._name_settings(self._choices.algorithm)
        self._describe(self._choices.environment)
        self.load_runs()

    @work(exclusive=True, group="catalog")
    async def _describe(self, environment: str) -> None:
        levels = self.query_one("#level", Select)
        try:
            offer = await self._outside.describe(environment)
        except AgentRMError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self._offer = offer
        self.query_one("#about", Static).update(_about(offer))
        options = [MIX, *offer.levels] if offer.procedural else list(offer.tasks)
        if not options:
            self.notify(f"{one_line(environment)} has no tasks", severity="error", markup=False)
            return
        levels.set_options([(Content(level), level) for level in options])
        levels.value = self._choices.level if self._choices.level in options else options[0]

    @work(thread=True, exclusive=True, group="runs")
    def load_runs(self) -> None:
        """List the recent runs."""
        runs = list_runs(self._outside.runs_folder)[:RUNS_SHOWN]
        self.app.call_from_thread(self._take_runs, runs)

    def on_resize(self) -> None:
        """Labels stand beside their fields; lines of the list are laid out for the width."""
        self._name_settings(self._choices.algorithm)
        self.call_after_refresh(self._list_runs)

    def _take_runs(self, runs: list[RunSummary]) -> None:
        self._runs, self._listed = runs, True
        self._list_runs()

    def _list_runs(self) -> None:
        runs = self._runs
        listed = self.query_one("#recent", OptionList)
        width = max(30, listed.scrollable_content_region.width - 3)
        listed.clear_options()
        listed.add_options(
            [Option(run_line(run, self._outside.clock(), width), id=str(n)) for n, run in enumerate(runs)]
        )
        if not runs and self._listed:
            listed.add_option(
                Option(Content.styled("Runs appear here once there are some.", "$foreground 62%"), disabled=True)
            )

    @on(Select.Changed, "#environment")
    def _environment_changed(self, event: Select.Changed) -> None:
        environment = str(event.value)
        if environment == self._choices.environment:
            return
        if environment == OTHER:
            self.app.push_screen(AddressScreen(), self._take_address)
            return
        self._choices = msgspec.structs.replace(self._choices, environment=environment, level=MIX)
        self._offer = None
        usual = (("policy", known_policies(), usual_policy), ("reward", known_rewards(), usual_reward))
        for field, known, choose in usual:
            entry = self.query_one(f"#{field}", Input)
            if entry.value in known:
                entry.value = choose(environment)
        self._describe(environment)

    def _take_address(self, address: str | None) -> None:
        """Put a typed address into the list and choose it; without one the earlier choice stays."""
        listed = self.query_one("#environment", Select)
        if address is not None:
            names = dict.fromkeys((*environment_names(), address, OTHER))
            listed.set_options([(Content(one_line(name, 200)), name) for name in names])
        listed.value = address or self._choices.environment
        listed.focus()

    @on(Select.Changed, "#algorithm")
    def _algorithm_changed(self, event: Select.Changed) -> None:
        algorithm = str(event.value)
        if algorithm != self._choices.algorithm:
            self._choices = msgspec.structs.replace(self._remembering(), algorithm=algorithm)
            for name, typed in typed_settings(self._choices, algorithm).items():
                self.query_one(f"#{_setting_id(name)}", Input).value = typed
        self._name_settings(algorithm)

    def _name_settings(self, algorithm: str) -> None:
        """Show the settings that a search has, and write all labels, which are one widget, line by line."""
        own = {field.name: field for field in fields_of(algorithm)}
        for name in flags():
            self.query_one(f"#{_setting_id(name)}").display = name in own
        settings = [f"  {_label(field)}" for name, (field, _) in flags().items() if name in own]
        names = [*_LABELS, *settings, "Temperature"]
        self.query_one("#labels", Static).update(("\n\n" if self.has_class("-wide") else "\n").join(names))

    def _remembering(self) -> Choices:
        """The choices with what stands in the settings of the search."""
        algorithm = self._choices.algorithm
        typed = {
            field.name: self.query_one(f"#{_setting_id(field.name)}", Input).value for field in fields_of(algorithm)
        }
        return msgspec.structs.replace(self._choices, search={**self._choices.search, algorithm: typed})

    @on(OptionList.OptionSelected, "#recent")
    def _run_picked(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None:
            run = self._runs[int(event.option_id)]
            if run.problem:
                self.notify(one_line(run.problem), severity="error", markup=False)
            else:
                self.post_message(self.Replayed(run.path))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self._start(paused=event.button.id == "start_paused")

    @on(Input.Submitted)
    def action_start(self) -> None:
        """Start with what is filled in."""
        self._start(paused=False)

    def action_quit(self) -> None:
        """Leave the program; what was filled in is there again at the next start, unless it is no choice."""
        with suppress(AgentRMError):
            save_choices(self._outside.memory, self._read())
        self.app.exit(0)

    def on_descendant_focus(self) -> None:
        """Explain the focused field."""
        name = self.focused.id if self.focused is not None else ""
        self.query_one("#hint", Static).update(self._hint(name or ""))

    @on(Input.Changed, "#policy, #reward")
    def _model_typed(self, event: Input.Changed) -> None:
        """Say what is named while it is typed."""
        if event.input is self.focused:
            self.query_one("#hint", Static).update(what_it_is(event.value, event.input.id))

    def _hint(self, name: str) -> str:
        if name.startswith(_SETTING):
            return next(f"{field.words}." for field in self._settings() if _setting_id(field.name) == name)
        if name == "algorithm":
            kind = ALGORITHMS[self._choices.algorithm]
            return f"{_HINTS[name]} {kind.summary[:1].upper()}{kind.summary[1:]}."
        return _HINTS.get(name, "")

    def _settings(self) -> tuple[SearchField, ...]:
        return fields_of(self._choices.algorithm)

    @work(exclusive=True, group="start")
    async def _start(self, *, paused: bool) -> None:
        try:
            choices = self._read()
            offer = self._offer or await self._outside.describe(choices.environment)
            plan = plan_from(choices, offer)
        except AgentRMError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        save_choices(self._outside.memory, choices)
        self._choices = choices
        self.post_message(self.Chosen(plan, paused))

    def _read(self) -> Choices:
        return msgspec.structs.replace(
            self._remembering(),
            environment=str(self.query_one("#environment", Select).value),
            level=str(self.query_one("#level", Select).value),
            seed=self._whole("seed", 0),
            episodes=self._whole("episodes", 1),
            policy=self.query_one("#policy", Input).value.strip(),
            reward=self.query_one("#reward", Input).value.strip(),
            temperature=self._decimal("temperature"),
        )

    def _whole(self, field: str, least: int) -> int:
        text = self.query_one(f"#{field}", Input).value.strip()
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise UsageError(f"{field.replace('_', ' ')}: {text[:40]!r} is not a whole number ≥ {least}")
        return int(text)

    def _decimal(self, field: Literal["temperature"]) -> float:
        text = self.query_one(f"#{field}", Input).value.strip()
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 10:
            raise UsageError(f"{field}: {text[:40]!r} is not a number from 0 to 10")
        return value


def _about(offer: Offer) -> Content:
    """What the environment is, and how much of it there is."""
    if not offer.procedural:
        size = f"{len(offer.tasks)} tasks"
    else:
        size = f"{len(offer.levels)} levels, any seed; {MIX} cycles through {', '.join(offer.mix[:8])}"
        size += f" and {len(offer.mix) - 8} more" if len(offer.mix) > 8 else ""
    parts: list[str | tuple[str, str]] = [one_line(offer.summary), "\n", (size, "$foreground 62%")]
    if unlearned(offer.name):
        parts += ["\n", ("The bundled policy was not trained on it: try expert or scripted.", "$warning")]
    return Content.assemble(*parts)


def _first_environment(names: tuple[str, ...]) -> str:
    return "maze" if "maze" in names else names[0]


def _select(field: str, names: Sequence[str], value: str) -> Select[str]:
    return Select([(Content(name), name) for name in names], value=value, allow_blank=False, compact=True, id=field)


_SETTING = "search-"


def _setting_id(name: str) -> str:
    """The widget of a setting of a search."""
    return f"{_SETTING}{name}"


def _label(field: SearchField) -> str:
    return field.name.replace("_", " ").capitalize() if len(field.name) > 1 else field.name.upper()


def _setting(field: SearchField, typed: str) -> Input:
    suggester = SuggestFromList(field.choices) if field.choices else None
    return Input(typed, suggester=suggester, compact=True, id=_setting_id(field.name))


def _number(value: int, field: str) -> Input:
    return Input(str(value), type="integer", compact=True, id=field)
