"""What the panes draw: frozen views, computed from an episode's state and the person's selection."""

from __future__ import annotations

from collections.abc import Collection
from math import inf, isfinite
from typing import Literal, NamedTuple, TypeAlias

from agentrm_models.terminal_text import one_line
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.limits import missing_words, reasoning_words
from agentrm_tui.runs.state import EpisodeState
from agentrm_tui.search.tree import Node, NodeId, Tree

Mark: TypeAlias = Literal["chosen", "kept", "judged", "waiting", "cut"]
GLYPHS: dict[Mark, str] = {"chosen": "★", "kept": "✓", "judged": "●", "waiting": "○", "cut": "✗"}
HUMAN = "✎"
CANDIDATES_SHOWN = 150
"""Lines of the table at most; the best come first."""


CUT_WORDS = {"beam": "outside the beam"}
"""What the search's short reasons for a cut mean."""


def cut_words(why: str) -> str:
    """The reason for a cut, for people."""
    return CUT_WORDS.get(why) or one_line(why, 60)


class ValueRange(NamedTuple):
    """The scale of reward bars and plots."""

    low: float = 0.0
    high: float = 1.0

    def share(self, value: float | None) -> float:
        """Where a value lies between low and high, in [0, 1]."""
        if value is None or not isfinite(value) or self.high <= self.low:
            return 0.0
        return max(0.0, min(1.0, (value - self.low) / (self.high - self.low)))


class CandidateView(NamedTuple):
    """One line of the candidates table; `beam` counts the nodes that were asked, from 1."""

    node: NodeId
    beam: int
    mark: Mark
    human: bool
    action: str
    thought: str
    log_probability: float
    reward: float | None
    mean_return: float | None
    visits: int
    samples: int
    margin: float | None
    tokens: int
    why: str
    observation: str | None


class Turn(NamedTuple):
    """One node of the transcript.

    Attributes:
        reasoned: How much was reasoned before the reply, in words; empty where nothing was.
        missing: What to say in the place of an action.
    """

    node: NodeId
    step: int
    mark: Mark
    human: bool
    thought: str
    action: str
    observation: str | None
    reward: float | None
    log_probability: float
    done: bool
    valid: bool
    why: str
    reasoning: str
    reasoned: str
    missing: str


class StepValue(NamedTuple):
    """Values at one step of the shown path."""

    step: int
    value: float | None
    best_other: float | None

    @property
    def regret(self) -> float:
        """How far the best other node at this step is above the path's own."""
        if self.value is None or self.best_other is None:
            return 0.0
        return max(0.0, self.best_other - self.value)


class EpisodeView(NamedTuple):
    """One episode as the panes show it.

    Attributes:
        focus: The node whose path is shown: the selected one, or the best.
        path: Ids from the root to `focus`.
        best: Ids of the chosen path, or of the best one so far.
        chosen: Ids of the chosen path; empty before there is one.
        numbers: Which numbers this search has given so far, of `reward`, `margin` and `visits`.
        picture: The encoded picture of the last acted node on the path.
    """

    id: str
    start: ev.EpisodeStarted
    tree: Tree
    focus: NodeId
    path: tuple[NodeId, ...]
    best: tuple[NodeId, ...]
    chosen: frozenset[NodeId]
    candidates: tuple[CandidateView, ...]
    title: str
    transcript: tuple[Turn, ...]
    values: tuple[StepValue, ...]
    scale: ValueRange
    numbers: frozenset[str]
    picture: str
    abandoned: int
    notices: tuple[str, ...]


def mark_of(node: Node, chosen: Collection[NodeId]) -> Mark:
    """How a node stands; `chosen` are the ids of the chosen path."""
    if node.id in chosen and node.parent is not None:
        return "chosen"
    if node.pruned:
        return "cut"
    if node.acted:
        return "kept"
    return "waiting" if node.reward_value is None else "judged"


def latest_proposal(episode: EpisodeState) -> ev.Proposed | None:
    """The last proposal of the search itself; rollouts are not looked at while there is another."""
    rollout = None
    for recorded in reversed(episode.history):
        event = recorded.event
        if isinstance(event, ev.Proposed):
            if event.phase == "search":
                return event
            rollout = rollout or event
    return rollout


def best_node(episode: EpisodeState) -> NodeId:
    """The node whose path is the search's own best: what it chose at the end, and on the way what it would choose now.

    That is where its visits went (MCTS), or the highest reward of what it goes on with and of what has ended.
    """
    tree = episode.tree
    chosen = episode.chosen if episode.chosen is not None and episode.chosen in tree else None
    if chosen is not None and episode.status != "running":
        return chosen
    if tree.root.visits:
        return _most_visited(tree, chosen or tree.root.id)
    proposal = latest_proposal(episode)
    if proposal is None:
        return tree.root.id
    proposed = [tree[item.node] for item in proposal.nodes if item.node in tree]
    alive = [node for node in proposed if not node.pruned]
    acted = [node for node in alive if node.acted]
    judged = [node for node in alive if node.reward_value is not None]
    asked = [tree[node] for node in proposal.asked if node in tree]
    ended = [node for node in tree if node.done and not node.pruned and node.phase == "search"]
    return max([*(acted or judged or asked or [tree.root]), *ended], key=_promise).id


def _most_visited(tree: Tree, start: NodeId) -> NodeId:
    """Where the visits below a node lead: the principal variation."""
    while (child := tree.most_visited(start)) is not None:
        start = child.id
    return start


def view_episode(episode: EpisodeState, selected: NodeId | None) -> EpisodeView:
    """Compute all views of an episode; `selected` None follows the best path."""
    tree = episode.tree
    best = best_node(episode)
    focus = selected if selected is not None and selected in tree else best
    path = tree.path(focus)
    shown, title = _candidate_nodes(episode, selected if focus == selected else None)
    beams = {parent: number for number, parent in enumerate(sorted({node.parent or "" for node in shown}), 1)}
    values, scale = _values(tree, path)
    answer = episode.chosen
    chosen = frozenset(node.id for node in tree.path(answer)) if answer is not None and answer in tree else frozenset()
    return EpisodeView(
        id=episode.id,
        start=episode.start,
        tree=tree,
        focus=focus,
        path=tuple(node.id for node in path),
        best=tuple(node.id for node in tree.path(best)),
        chosen=chosen,
        candidates=tuple(
            _candidate(node, beams, chosen) for node in sorted(shown, key=_table_order)[:CANDIDATES_SHOWN]
        ),
        title=title,
        transcript=tuple(_turn(node, chosen) for node in path),
        values=values,
        scale=scale,
        numbers=_numbers(tree),
        picture=next((node.picture for node in reversed(path) if node.picture), ""),
        abandoned=len(episode.abandoned),
        notices=tuple(episode.notices),
    )


def _promise(node: Node) -> tuple[bool, float, float]:
    """Order of promise: finished outcomes are not looked at, only what search itself sees."""
    reward = node.reward_value
    mean = node.mean_return
    return (reward is not None, reward if reward is not None else float("-inf"), mean if mean is not None else 0.0)


def _candidate_nodes(episode: EpisodeState, selected: NodeId | None) -> tuple[list[Node], str]:
    tree = episode.tree
    proposal = latest_proposal(episode)
    proposed = {item.node for item in proposal.nodes} if proposal is not None and episode.status == "running" else set()
    if selected is not None and (selected not in proposed or tree[selected].children):
        node = tree[selected]
        around = node if node.children else tree.parent(selected)
        if around is not None:
            return tree.children(around.id), f"step {around.depth + 1} · selected"
    answer = tree.nodes.get(episode.chosen or "") if episode.status != "running" else None
    if answer is not None and answer.parent is not None:
        return tree.children(answer.parent), f"step {answer.depth} · the last"
    if proposal is None:
        return [], ""
    ids = dict.fromkeys(item.node for item in proposal.nodes)
    nodes = [tree[node] for node in ids if node in tree]
    depth = nodes[0].depth if nodes else 0
    beams = len(proposal.asked)
    return nodes, f"step {depth}" + (f" · from {beams} beams" if beams > 1 else "")


def _table_order(node: Node) -> tuple[bool, bool, float, float]:
    """Kept before cut, then by reward, then by log-probability."""
    reward = node.reward_value
    logp = node.log_probability if isfinite(node.log_probability) else float("-inf")
    return (bool(node.pruned), reward is None, -(reward if reward is not None else 0.0), -logp)


def _candidate(node: Node, beams: dict[NodeId, int], chosen: Collection[NodeId]) -> CandidateView:
    return CandidateView(
        node=node.id,
        beam=beams[node.parent or ""],
        mark=mark_of(node, chosen),
        human=node.source == "human",
        action=node.action or node.reply or f"({missing_words(node.cut, bool(node.reasoning))})",
        thought=node.thought,
        log_probability=node.log_probability,
        reward=node.reward_value,
        mean_return=node.mean_return,
        visits=node.visits,
        samples=node.samples,
        margin=node.margin,
        tokens=node.tokens,
        why=node.pruned,
        observation=node.observation,
    )


def _turn(node: Node, chosen: Collection[NodeId]) -> Turn:
    return Turn(
        node=node.id,
        step=node.depth,
        mark=mark_of(node, chosen),
        human=node.source == "human",
        thought=node.thought,
        action=node.action,
        observation=node.observation,
        reward=node.reward_value,
        log_probability=node.log_probability,
        done=node.done,
        valid=node.valid,
        why=node.pruned,
        reasoning=node.reasoning,
        reasoned=reasoning_words(node),
        missing=missing_words(node.cut, bool(node.reasoning)),
    )


def _numbers(tree: Tree) -> frozenset[str]:
    given = set()
    for node in tree:
        if node.reward_value is not None:
            given.add("reward")
        if node.margin is not None:
            given.add("margin")
        if node.visits:
            given.add("visits")
    return frozenset(given)


def _values(tree: Tree, path: list[Node]) -> tuple[tuple[StepValue, ...], ValueRange]:
    """Values along the path beside the best others, and their scale: [0, 1] where all values lie in it."""
    on_path = {node.id for node in path}
    best: dict[int, float] = {}
    low, high = 0.0, 1.0
    for node in tree:
        value = node.reward_value
        if value is None or not isfinite(value):
            continue
        low, high = min(low, value), max(high, value)
        if value > best.get(node.depth, -inf) and node.phase == "search" and node.id not in on_path:
            best[node.depth] = value
    values = tuple(StepValue(node.depth, node.reward_value, best.get(node.depth)) for node in path[1:])
    return values, ValueRange(low, high)
