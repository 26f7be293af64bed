"""The one registry of actions: key bindings, command palette, help and docs are all made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from textual.binding import Binding

from agentrm_tui.ui.session import Facts

KEY_NAMES = {
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "comma": ",",
    "full_stop": ".",
    "escape": "esc",
    "left": "←",
    "right": "→",
    "shift+left": "⇧←",
    "shift+right": "⇧→",
}


GROUPS = ("Run", "Recording", "View")


class Action(NamedTuple):
    """Something a person can do on the episode screen.

    Attributes:
        id: Name of the screen's `action_…` method.
        key: Textual's name of the key.
        label: Two words at most, for the footer.
        description: One sentence for help, palette and docs.
        applies: Whether it can be done now.
        footer: Whether the footer offers it.
        group: Heading in the help.
    """

    id: str
    key: str
    label: str
    description: str
    applies: Callable[[Facts], bool]
    footer: bool = False
    group: str = "Run"

    @property
    def key_label(self) -> str:
        """The key as people read it."""
        return KEY_NAMES.get(self.key, self.key)


def _always(facts: Facts) -> bool:
    return True


def _driven(facts: Facts) -> bool:
    return facts.live and not facts.finished


def _grown(facts: Facts) -> bool:
    return facts.live and facts.grown


def _replayed(facts: Facts) -> bool:
    return facts.replay


ACTIONS: tuple[Action, ...] = (
    Action("pause", "space", "Pause/go", "Pause at the next token, or go on.", _driven, True),
    Action("play", "space", "Play", "Play the recording, or stop.", _replayed, True, "Recording"),
    Action(
        "step", "n", "Step", "Go on to the next request (propose, score, act, cut, choose), then pause.", _driven, True
    ),
    Action("step_environment", "N", "Act", "Go on until the environment has acted, then pause.", _driven, True),
    Action(
        "rewind",
        "b",
        "Back",
        "Go back to the selected node (or one step) and go on from there; later nodes are abandoned.",
        _grown,
        True,
    ),
    Action("override", "e", "Edit", "Type or pick the action to take at the selected node yourself.", _grown, True),
    Action(
        "unprune",
        "u",
        "Uncut",
        "Keep the selected node that the search cut: go back to the cut and pause there.",
        lambda facts: facts.live and facts.pruned,
        True,
    ),
    Action("fork", "f", "Fork", "Start a new episode from the selected node; this one stays as it is.", _grown),
    Action(
        "restart",
        "r",
        "Restart",
        "Start the engine (again) on this file and go on where it ends.",
        lambda facts: facts.dead or (facts.replay and facts.unfinished),
        True,
    ),
    Action("back", "left", "Back", "One event back.", _replayed, True, "Recording"),
    Action("forward", "right", "On", "One event on.", _replayed, True, "Recording"),
    Action(
        "back_step", "shift+left", "Step back", "Back to the environment step before.", _replayed, False, "Recording"
    ),
    Action("forward_step", "shift+right", "Step on", "On to the next environment step.", _replayed, True, "Recording"),
    Action("first", "home", "Start", "To the start of the recording.", _replayed, False, "Recording"),
    Action("last", "end", "End", "To the end of the recording.", _replayed, False, "Recording"),
    Action("slower", "comma", "Slower", "Play slower.", _replayed, False, "Recording"),
    Action("faster", "full_stop", "Faster", "Play faster.", _replayed, True, "Recording"),
    Action(
        "previous_episode",
        "left_square_bracket",
        "Episode",
        "Show the episode before.",
        lambda facts: facts.several or facts.replay,
        False,
        "View",
    ),
    Action(
        "next_episode",
        "right_square_bracket",
        "Episode",
        "Show the next episode.",
        lambda facts: facts.several or facts.replay,
        False,
        "View",
    ),
    Action("next_pane", "tab", "Pane", "Go to the next pane.", _always, False, "View"),
    Action("previous_pane", "shift+tab", "Pane", "Go to the pane before.", _always, False, "View"),
    Action("show_pane('candidates')", "1", "Candidates", "Go to the candidates.", _always, False, "View"),
    Action("show_pane('tree')", "2", "Tree", "Go to the search tree.", _always, False, "View"),
    Action("show_pane('transcript')", "3", "Transcript", "Go to the transcript.", _always, False, "View"),
    Action("show_pane('picture')", "4", "Picture", "Go to the picture and the goal.", _always, False, "View"),
    Action("show_pane('values')", "5", "Value", "Go to the value over steps.", _always, False, "View"),
    Action(
        "follow",
        "escape",
        "Follow",
        "Drop the selection and follow the best path.",
        lambda f: f.selected,
        False,
        "View",
    ),
    Action("copy", "c", "Copy", "Copy the text of the selected node.", lambda f: f.grown, False, "View"),
    Action("help", "question_mark", "Help", "Explain the focused pane and list the keys.", _always, True, "View"),
    Action("quit", "q", "Quit", "Leave this screen; asks first while the run goes on.", _always, True, "View"),
)


class PaneHelp(NamedTuple):
    """What `?` says about a pane: its title, what it shows, and what its signs mean."""

    title: str
    text: str
    signs: tuple[tuple[str, str], ...] = ()


PANE_HELP: dict[str, PaneHelp] = {
    "candidates": PaneHelp(
        "Candidates",
        "What the policy proposed last (or at the selected node), best reward first. "
        "↑ ↓ move, enter selects: transcript, picture and tree follow.",
        (
            ("★ ✓ ● ○", "on the chosen path; kept and acted; judged; not judged yet"),
            ("✗ ✎", "cut by the search; typed by a person"),
            ("reward", "the reward model's judgement of history, thought and action"),
            ("margin", "how far a cut candidate was from staying, in units of reward"),
            ("logp", "log-probability of the reply under the policy, in nats"),
            ("n", "samples that gave this action"),
            ("mean", "mean of the returns backed up through it, with visits (MCTS)"),
            ("tok", "sampled tokens of the reply"),
            ("beam", "which of the continued nodes it was proposed from"),
        ),
    ),
    "tree": PaneHelp(
        "Search tree",
        "Every node is one thought and action after a history. Cut subtrees stay closed and name the reason; "
        "a deep tree starts at a later step.",
        (
            ("↑ ↓ enter", "move; select"),
            ("+ -", "open or close a subtree"),
            ("⋯", "enter on this first line shows earlier steps"),
            ("★", "the chosen path; the best path so far is bold"),
            ("Q ×", "mean return and visits (MCTS)"),
        ),
    ),
    "transcript": PaneHelp(
        "Transcript",
        "Thought, action and observation along the path to the selected node, or along the best path. ↑ ↓ scroll.",
    ),
    "picture": PaneHelp(
        "Goal and picture",
        "The goal, and the environment's state after the selected (or best) node.",
    ),
    "values": PaneHelp(
        "Value over steps",
        "Regret is how far the best other node at a step is above the path's own, in the reward model's eyes.",
        (("●", "value of each action on the path"), ("○", "best other node at the same step"), ("◉", "both")),
    ),
}


def bindings() -> list[Binding]:
    """Key bindings of the episode screen."""
    return [
        Binding(
            action.key,
            action.id,
            action.label,
            show=action.footer,
            tooltip=action.description,
            key_display=action.key_label,
            priority=action.key in ("tab", "shift+tab"),
        )
        for action in ACTIONS
    ]


def applicable(facts: Facts) -> list[Action]:
    """The actions that can be done now, for the command palette."""
    return [action for action in ACTIONS if action.applies(facts)]


def find_action(name: str) -> list[Action]:
    """All actions whose id is `name`, or a call of it."""
    return [action for action in ACTIONS if action.id == name or action.id.startswith(f"{name}(")]


def keys_markdown() -> str:
    """The table of keys for the docs."""
    rows = [f"| `{action.key_label}` | {action.group} | {action.description} |" for action in ACTIONS]
    return "\n".join(["| key | | what it does |", "|---|---|---|", *rows])
