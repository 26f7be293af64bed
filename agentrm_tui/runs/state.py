"""The reducer: `apply(state, event)` is the only thing that builds the state of a run and its trees.

The screen, replay, headless output, evaluation, label extraction and resume all use it.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.replies import Reply, parse_reply
from agentrm_tui.runs import events as ev
from agentrm_tui.search.tree import ROOT, Node, NodeId, Tree


class MisfitError(DataError):
    """An event that does not fit the ones before it: a file of another program, or events left out (exit code 3)."""


class Recorded(NamedTuple):
    """An event and its number in the file (0-based)."""

    number: int
    event: ev.AnyEvent


class EpisodeState(msgspec.Struct):
    """One episode as it stands.

    Attributes:
        chosen: The node chosen last; the path to it is the answer so far.
        history: Its live events, abandoned ones left out: what a fresh search is fed to stand here again.
        abandoned: Nodes that a rewind left behind. Their ids are never given again.
        ordinals: How many children each node ever had.
        drawn: How many replies were ever sampled from each node, abandoned ones included.
        forgotten: Its tree, its history and what `start` showed were dropped to save memory; they stand in the file.
    """

    id: str
    start: ev.EpisodeStarted
    tree: Tree
    status: Literal["running", "finished", "failed"] = "running"
    chosen: NodeId | None = None
    outcome: float | None = None
    steps: int = 0
    ledger: ev.Ledger = msgspec.field(default_factory=ev.Ledger)
    history: list[Recorded] = msgspec.field(default_factory=list)
    abandoned: dict[NodeId, Node] = msgspec.field(default_factory=dict)
    ordinals: dict[NodeId, int] = msgspec.field(default_factory=dict)
    drawn: dict[NodeId, int] = msgspec.field(default_factory=dict)
    notices: list[str] = msgspec.field(default_factory=list)
    forgotten: bool = False

    def forget(self) -> None:
        """Drop all but what was played and how it ended."""
        self.forgotten = True
        self.start = _name_of(self.start)
        self.tree, self.history = _FORGOTTEN.tree, _FORGOTTEN.history
        self.abandoned, self.ordinals, self.drawn = _FORGOTTEN.abandoned, _FORGOTTEN.ordinals, _FORGOTTEN.drawn

    def outline(self) -> EpisodeState:
        """Itself where it is forgotten, else a forgotten copy."""
        if self.forgotten:
            return self
        copy = msgspec.structs.replace(self, notices=[*self.notices])
        copy.forget()
        return copy


def _name_of(start: ev.EpisodeStarted) -> ev.EpisodeStarted:
    """Which task an episode plays, without what it showed."""
    shown = dict.fromkeys(("observation", "picture", "state_key", "instruction", "reward_instruction"), "")
    return msgspec.structs.replace(start, **shown, messages=())


_FORGOTTEN = EpisodeState(
    "", ev.EpisodeStarted(episode="", task="", goal="", observation="", step_limit=0), Tree({ROOT: Node(ROOT)})
)
"""What all forgotten episodes share; no event changes it."""


class RunState(msgspec.Struct):
    """A run as it stands after `events` events.

    Attributes:
        trees_kept: Ended episodes whose trees are kept, the latest ones; None for all.
    """

    run: ev.RunStarted | None = None
    episodes: dict[str, EpisodeState] = msgspec.field(default_factory=dict)
    ledger: ev.Ledger = msgspec.field(default_factory=ev.Ledger)
    loading: dict[str, ev.ModelLoading] = msgspec.field(default_factory=dict)
    faults: list[ev.Fault] = msgspec.field(default_factory=list)
    noticed: list[ev.Noticed] = msgspec.field(default_factory=list)
    finished: ev.RunFinished | None = None
    events: int = 0
    clock: float = 0.0
    trees_kept: int | None = None
    ended: list[str] = msgspec.field(default_factory=list)

    @property
    def current(self) -> EpisodeState | None:
        """The episode that started last."""
        return next(reversed(self.episodes.values()), None)

    @property
    def failed(self) -> int:
        """Tasks of a run that came to its end, whose episode failed."""
        finished = self.finished
        return len(finished.scores) - finished.ended if finished and finished.reason == "finished" else 0

    def last_attempt(self, task: int) -> EpisodeState | None:
        """The episode in which task number `task` of the plan was played last: `3`, or `3.r1` after a failure."""
        names = (str(task), *(f"{task}.r{again}" for again in range(1, self.attempts(task))))
        return self.episodes.get(names[-1])

    def attempts(self, task: int) -> int:
        """How often the task was started."""
        count = int(str(task) in self.episodes)
        while count and f"{task}.r{count}" in self.episodes:
            count += 1
        return count

    def outline(self) -> RunState:
        """A copy without trees. Both share the episodes that are forgotten, which must be replaced, not changed."""
        return msgspec.structs.replace(
            self,
            episodes={name: episode.outline() for name, episode in self.episodes.items()},
            loading=self.loading.copy(),
            faults=self.faults.copy(),
            noticed=self.noticed.copy(),
            ended=self.ended.copy(),
        )

    def remember(self, episode: EpisodeState) -> None:
        """Put an episode, grown again from its events, in the place of its forgotten self."""
        self.episodes[episode.id] = episode
        if episode.id in self.ended:
            self.ended.remove(episode.id)
        if episode.status != "running" and self.trees_kept is not None:
            _forget_old(self, episode, self.trees_kept)

    def waiting(self) -> list[EpisodeState]:
        """Episodes that have not ended: the one that is driven, and those whose fork goes first."""
        return [episode for episode in self.episodes.values() if episode.status == "running"]


def apply(state: RunState, event: ev.AnyEvent) -> RunState:
    """Apply one event in place and return the state.

    Raises:
        MisfitError: The event does not fit the state (a file of another program, or events left out).
    """
    number = state.events
    state.events += 1
    state.clock = max(state.clock, event.at)
    state.finished = None
    match event:
        case ev.RunStarted():
            if state.run is not None:
                raise MisfitError(f"event {number} starts a run that has begun already")
            state.run = event
        case ev.ModelLoading():
            state.loading[event.what] = event
        case ev.RunFinished():
            state.finished = event
        case ev.EpisodeStarted():
            state.episodes[event.episode] = _start(state, event, number)
        case ev.Noticed():
            state.noticed.append(event)
        case ev.Fault(episode=""):
            state.faults.append(event)
        case _:
            episode = state.episodes.get(event.episode)
            if episode is None:
                raise MisfitError(f"event {number} belongs to episode {event.episode[:80]!r}, which never started")
            _charge(state, episode, event)
            try:
                _apply_to_episode(episode, event, number)
            except (KeyError, ValueError) as error:
                raise MisfitError(f"event {number} does not fit the events before it: {_reason(error)}") from error
            if isinstance(event, ev.Fault):
                state.faults.append(event)
            if episode.status != "running" and state.trees_kept is not None:
                _forget_old(state, episode, state.trees_kept)
    return state


def _reason(error: KeyError | ValueError) -> str:
    if isinstance(error, KeyError):
        return f"there is no node {str(error)[:80]}"
    return "lists of different lengths" if "zip()" in str(error) else str(error)[:200]


def _forget_old(state: RunState, episode: EpisodeState, kept: int) -> None:
    """Note an ended episode, and drop the trees of those that ended before the last `kept`."""
    if episode.id not in state.ended:
        state.ended.append(episode.id)
    while len(state.ended) > kept:
        state.episodes[state.ended.pop(0)].forget()


def _start(state: RunState, event: ev.EpisodeStarted, number: int) -> EpisodeState:
    if event.episode in state.episodes:
        raise MisfitError(f"event {number} starts episode {event.episode[:80]!r} a second time")
    episode = EpisodeState(event.episode, event, _fresh_tree(event, number))
    if event.parent:
        parent = state.episodes.get(event.parent)
        if parent is None:
            raise MisfitError(f"event {number} forks episode {event.parent[:80]!r}, which never started")
        for recorded in parent.history:
            if recorded.number <= event.parent_event and not isinstance(recorded.event, ev.EpisodeFinished):
                regrow(episode, recorded)
    return episode


def _fresh_tree(event: ev.EpisodeStarted, number: int) -> Tree:
    root = Node(
        ROOT,
        observation=event.observation,
        state_key=event.state_key,
        picture=event.picture,
        created=number,
        acted_at=number,
    )
    return Tree({ROOT: root})


def _apply_to_episode(episode: EpisodeState, event: ev.AnyEvent, number: int) -> None:
    if episode.forgotten:
        return
    match event:
        case ev.Rewound():
            _rewind(episode, event.to)
        case ev.Fault():
            episode.notices.append(event.message)
            if event.fatal:
                episode.status = "failed"
        case ev.Drifted():
            episode.notices.append(f"{event.node}: the replayed observation differs from the recorded one")
        case ev.Truncated():
            episode.notices.append(f"{event.what}: context full, {event.dropped} oldest observations left out")
        case _:
            regrow(episode, Recorded(number, event))
            if isinstance(event, ev.Proposed):
                for node in event.nodes:
                    episode.drawn[node.parent] = episode.drawn.get(node.parent, 0) + node.samples


def replant(episode: EpisodeState, to: int | None = None) -> list[Recorded]:
    """Empty the tree but for its root and return the live history (up to event number `to`), to be grown again."""
    history = [recorded for recorded in episode.history if to is None or recorded.number <= to]
    episode.tree, episode.history = _fresh_tree(episode.start, episode.tree.root.created), []
    episode.chosen, episode.outcome, episode.steps, episode.status = None, None, 0, "running"
    return history


def regrow(episode: EpisodeState, recorded: Recorded) -> None:
    """Grow the tree by one recorded event, without charging for it."""
    episode.history.append(recorded)
    _grow(episode, recorded.event, recorded.number)


def _grow(episode: EpisodeState, event: ev.AnyEvent, number: int) -> None:
    """Apply an event that search itself can see."""
    tree = episode.tree
    match event:
        case ev.Proposed():
            for proposed in event.nodes:
                _add(episode, proposed, event.phase, number)
        case ev.Scored():
            for group, values in zip(event.groups, event.values, strict=True):
                for node_id, value in zip(group, values, strict=True):
                    tree[node_id].reward_value = value
        case ev.Acted():
            for acted in event.nodes:
                node = tree[acted.node]
                node.observation, node.outcome, node.done = acted.observation, acted.outcome, acted.done
                node.valid, node.state_key, node.picture = acted.valid, acted.state_key, acted.picture
                node.messages, node.acted_at = acted.messages, number
        case ev.Pruned():
            margins = event.margins or (None,) * len(event.nodes)
            for node_id, margin in zip(event.nodes, margins, strict=True):
                tree[node_id].pruned, tree[node_id].margin = event.why, margin
        case ev.Chosen():
            tree[event.node].chosen = True
            episode.chosen = event.node
        case ev.Backpropagated():
            for node_id, value in zip(event.path, event.values, strict=True):
                tree[node_id].visits += 1
                tree[node_id].total_return += value
        case ev.EpisodeFinished():
            episode.status, episode.outcome, episode.steps = "finished", event.outcome, event.steps
        case _:
            pass


def read_reply(start: ev.EpisodeStarted, text: str) -> Reply:
    """Thought and action of a reply; one that is a whole turn is all action."""
    return Reply("", text) if start.whole_turns else parse_reply(text)


def _add(episode: EpisodeState, proposed: ev.ProposedNode, phase: Literal["search", "rollout"], number: int) -> None:
    tree = episode.tree
    before, _, ordinal = proposed.node.rpartition(".")
    if proposed.samples < 1 or before != proposed.parent or not ordinal.isdecimal():
        raise ValueError(f"node {proposed.node!r} with {proposed.samples} samples is no child of {proposed.parent!r}")
    if proposed.node in tree:
        tree[proposed.node].samples += proposed.samples
        if phase == "search":
            tree[proposed.node].phase = phase
        return
    parent = tree[proposed.parent]
    reply = read_reply(episode.start, proposed.reply)
    tree.nodes[proposed.node] = Node(
        proposed.node,
        parent=parent.id,
        depth=parent.depth + 1,
        reply=proposed.reply,
        thought=reply.thought,
        action=reply.action,
        log_probability=math.nan if proposed.log_probability is None else proposed.log_probability,
        tokens=proposed.tokens,
        samples=proposed.samples,
        source=proposed.source,
        reasoning=proposed.reasoning,
        reasoning_tokens=proposed.reasoning_tokens,
        cut=proposed.cut,
        phase=phase,
        created=number,
    )
    parent.children.append(proposed.node)
    episode.ordinals[parent.id] = max(episode.ordinals.get(parent.id, 0), int(ordinal) + 1)


def _rewind(episode: EpisodeState, to: int) -> None:
    """Rebuild the tree from the events up to number `to`; the nodes made later are abandoned."""
    before = episode.tree
    for recorded in replant(episode, to):
        regrow(episode, recorded)
    for node in before:
        if node.id not in episode.tree:
            episode.abandoned[node.id] = node


def _charge(state: RunState, episode: EpisodeState, event: ev.AnyEvent) -> None:
    cost = _cost(event)
    if cost is not None:
        state.ledger = add_ledgers(state.ledger, cost)
        episode.ledger = add_ledgers(episode.ledger, cost)


def _cost(event: ev.AnyEvent) -> ev.Ledger | None:
    match event:
        case ev.Proposed(usage=usage):
            return ev.Ledger(
                policy_tokens_computed=usage.tokens_computed,
                policy_tokens_unique=usage.tokens_unique,
                policy_tokens_generated=usage.tokens_generated,
                requests=usage.requests,
                dropped_observations=usage.dropped_observations,
                duplicates=sum(node.samples for node in event.nodes) - len(event.nodes),
                seconds=usage.milliseconds / 1000,
                cut_replies=event.cut_replies,
                cut_reasoning=event.cut_reasoning,
            )
        case ev.Scored(usage=usage):
            return ev.Ledger(
                reward_tokens_computed=usage.tokens_computed,
                reward_tokens_unique=usage.tokens_unique,
                requests=usage.requests,
                dropped_observations=usage.dropped_observations,
                seconds=usage.milliseconds / 1000,
            )
        case ev.Acted():
            return ev.Ledger(
                env_steps=event.env_steps,
                transitions=len(event.nodes) - event.refused,
                seconds=event.milliseconds / 1000,
            )
        case _:
            return None


def add_ledgers(one: ev.Ledger, other: ev.Ledger) -> ev.Ledger:
    """Sum two ledgers field by field."""
    return ev.Ledger(**{name: getattr(one, name) + getattr(other, name) for name in ev.Ledger.__struct_fields__})
