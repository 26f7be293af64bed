"""The WebShop environment: find, in a shop of generated products, one that an instruction describes, and buy it."""

from __future__ import annotations

from hashlib import blake2b

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.webshop.expert import advise
from agentrm_tui.environments.webshop.pages import CHECK, Moment, act, actions, render
from agentrm_tui.environments.webshop.panel import draw
from agentrm_tui.environments.webshop.shops import LEVELS, goal_of

_TRAITS = EnvironmentTraits(
    name="webshop",
    origin="compatible",
    summary="Find the product that an instruction describes in a shop, choose its options and buy it.",
    levels=tuple(LEVELS),
    mix=("shop-3", "shop-5", "shop-10"),
    snapshots=True,
    valid_actions=True,
    expert=True,
    pictures=True,
    state_keys=True,
    procedural=True,
)

_FULL = f"""\
You are in a web shop and have to buy what the instruction asks for. The parts of a page are set apart by [SEP].
Actions: search[words] on the first page; click[name] for anything a page offers: a product's identifier, an option, \
Next >, < Prev, Back to Search, Description, Features, Reviews, Attributes, Buy Now.
Buying ends the episode. The score is the share of attributes and options that are right, the price counting as one; \
another kind of product scores nothing or little. Choose the options before you buy: nothing is chosen for you. \
Nothing scores without buying. The action '{CHECK}' lists what is possible and costs a step. Invalid actions cost one \
too; where they are counted (1 of 3), the last one ends the episode.
Reply with one short thought and one action, each on its own line:
Thought: The size has to be large.
Action: click[large]"""
_SHORT = (
    "Web shop. Buy what is asked for. Actions: search[words] on the first page, click[name] for anything on a page."
)


class WebShopEnvironment(BaseEnvironment):
    """Search, results, item pages with sub-pages, options, buy.

    The outcome is 0 until something is bought, and then WebShop's reward of it; buying ends the episode, whatever was
    bought. The levels are shops of growing size; instances share the catalogue and the search engine, which never
    change.
    """

    def __init__(self) -> None:
        self._now: Moment | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the action list alone."""
        return _FULL if style == "full" else _SHORT

    def make_task(self, level: str, seed: int) -> Task:
        """The purchase of a level and seed. Training, dev and test seeds have different target products."""
        return Task(f"{level}:{seed}", f"{goal_of(level, seed).text}.", seed, LEVELS[level].step_limit, level)

    def reset(self, task: Task) -> str:
        """Start at the search page.

        Raises:
            UsageError: The task is not one of this environment's.
        """
        if task.level not in LEVELS:
            task = self.task(task.id)
        self._now = Moment(task, goal_of(task.level, task.seed))
        return render(self._now)

    def step(self, action: str) -> StepResult:
        """Search or click; an action that is not possible leaves the page as it is and counts."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        turn = act(now, action)
        steps = now.steps + 1
        at_limit = steps >= now.task.step_limit and not turn.moment.done
        self._now = turn.moment._replace(steps=steps, done=turn.moment.done or at_limit)
        text = f"{turn.text} [SEP] The step limit is reached." if at_limit else turn.text
        return StepResult(text, self._now.score, self._now.done, turn.valid)

    def valid_actions(self) -> tuple[str, ...]:
        """What can be clicked; on the search page, where any words are accepted, queries in the instruction's words."""
        return actions(self._episode())

    def snapshot(self) -> Moment:
        """The episode's state; it is immutable, so this costs nothing."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance."""
        self._now = snapshot

    def expert(self) -> tuple[str, str]:
        """The next step to the best purchase that the steps left allow; both empty when there is none."""
        now = self._episode()
        return ("", "") if now.done else advise(now)

    def picture(self) -> Picture:
        """The page as a small panel."""
        return draw(self._episode())

    def state_key(self) -> str:
        """Task, page, results, product, options and invalid actions; searches that find the same lead to one state."""
        now = self._episode()
        facts = (now.place, now.results, now.number, now.opened, now.chosen, _invalid(now), now.done)
        return f"{now.task.id}@{blake2b(repr(facts).encode(), digest_size=12).hexdigest()}"

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now


def _invalid(moment: Moment) -> int:
    """Invalid actions so far, where they bring the end nearer."""
    return moment.invalid if moment.shop.level.invalid_limit else 0
