"""The keys of the episode screen, and what the help says about its panes."""

from __future__ import annotations

from agentrm_tui.ui.keys.action import Action, PaneHelp, ScreenActions, always
from agentrm_tui.ui.session import Facts


def _driven(facts: Facts) -> bool:
    return facts.live and not facts.finished


def _grown(facts: Facts) -> bool:
    return facts.live and facts.grown


def _replayed(facts: Facts) -> bool:
    return facts.replay


_ACTIONS: tuple[Action, ...] = (
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
    Action("next_pane", "tab", "Pane", "Go to the next pane.", always, False, "View", first=True),
    Action("previous_pane", "shift+tab", "Pane", "Go to the pane before.", always, False, "View", first=True),
    Action("show_pane('map')", "1", "Map", "Go to the search map.", always, False, "View"),
    Action("show_pane('candidates')", "2", "Candidates", "Go to the candidates.", always, False, "View"),
    Action("show_pane('transcript')", "3", "Transcript", "Go to the transcript.", always, False, "View"),
    Action("show_pane('picture')", "4", "Picture", "Go to the picture and the goal.", always, False, "View"),
    Action("show_pane('values')", "5", "Value", "Go to the value over steps.", always, False, "View"),
    Action("show_pane('tree')", "6", "Tree", "Go to the search tree.", always, False, "View"),
    Action("other_view", "v", "Map/tree", "Show the search as a tree, or as a map.", always, True, "View"),
    Action(
        "follow",
        "escape",
        "Follow",
        "Drop the selection and follow the best path.",
        lambda f: f.selected,
        False,
        "View",
    ),
    Action(
        "fold_reasoning",
        "t",
        "Reasoning",
        "Show what the policy reasoned before its replies in the transcript, or fold it again.",
        lambda f: f.reasoned,
        False,
        "View",
    ),
    Action("copy", "c", "Copy", "Copy the text of the selected node.", lambda f: f.grown, False, "View"),
    Action("help", "question_mark", "Help", "Explain the focused pane and list the keys.", always, True, "View"),
    Action("quit", "q", "Quit", "Leave this screen; asks first while the run goes on.", always, True, "View"),
)


_PANES: dict[str, PaneHelp] = {
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
    "map": PaneHelp(
        "Search map",
        "The whole search: a line is a step, a cell's width its share of the samples (MCTS: visits) that went through "
        "it, its colour the reward (MCTS: Q) between the worst and the best of the episode.",
        (
            ("↑ ↓ ← →", "to the step before, the step after, the cell beside"),
            ("enter", "select: transcript, picture and candidates follow"),
            ("z Z", "make the subtree at the cursor the whole map; back out one step"),
            ("★ ■", "on the chosen path; an end, with its score behind ="),
            ("✗ ╱", "cut by the search"),
            ("+3", "so many more cells stand here than there is room for"),
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
        (("▸ ▾", "what the policy reasoned before its reply, folded and unfolded: t, or a click"),),
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


EPISODE = ScreenActions("episode", "The run screen", ("Run", "Recording", "View"), _ACTIONS, _PANES)
