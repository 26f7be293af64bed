"""Conversations as episodes: what clients send becomes the events that any run is made of.

A request that continues what was answered is the next step of its episode: the messages after the reply are what the
agent observed. A request for another reply at a state that has one, or after another history, is a fork.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from agentrm_models.messages import Conversation, Message
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.runs.state import EpisodeState, RunState
from agentrm_tui.search.tree import ROOT, Node, NodeId
from agentrm_tui.serve.chat_request import ChatRequest
from agentrm_tui.serve.places import Beginning, Place, Places, Turn

MOST_OPEN = 512
"""Episodes that wait for their next request at most; the one that waits longest is ended first."""


class _Way(NamedTuple):
    """How a request can go on from a beginning that is known.

    Attributes:
        rank: How likely it is what the client means; the smallest is the best.
        child: The node whose reply the client says was given first; None where it is the client's own.
    """

    rank: int
    beginning: Beginning
    child: Node | None = None


_GO_ON, _SWITCH, _BRANCH, _OWN_WORDS, _OWN_BRANCH = range(5)
"""It continues the answer of an episode that waits, or another reply that it was given; it goes back in one; it has
put words of its own in the place of the answer, or of an earlier one."""


class Episodes:
    """Finds or begins the episode of each request, and ends those that nobody continues.

    Args:
        state: The run's; `record` applies events to it.
        record: Writes an event and applies it.
        idle: Seconds after which an episode that nobody continues has ended.
    """

    def __init__(self, state: RunState, record: Callable[[ev.AnyEvent], None], idle: float) -> None:
        self._state = state
        self._record = record
        self._idle = idle
        self._places = Places()
        self._last_request: dict[str, float] = {}
        self._named: dict[str, str] = {}
        self._reachable: dict[str, None] = {}
        self._begun = 0

    @property
    def open(self) -> int:
        """Episodes that wait for their next request."""
        return len(self._last_request)

    def stand(self, request: ChatRequest, now: float, busy: Collection[str]) -> Place:
        """The node at which a request asks for a reply; records what the client did since the last one.

        Args:
            now: Seconds; only differences count.
            busy: Episodes in which another request is being answered.
        """
        ways = [self._way(found, busy) for found in self._places.beginnings(request.space, request.messages)]
        place = self._go(request, min(ways, key=lambda way: way.rank)) if ways else self._begin(request)
        self._last_request.pop(place.episode, None)
        self._last_request[place.episode] = now
        if request.episode:
            self._named[request.episode] = place.episode
        self._make_room()
        return place

    def end_idle(self, now: float) -> None:
        """End the episodes that nobody has continued for long."""
        for episode in [name for name, at in self._last_request.items() if now - at >= self._idle]:
            self._end(episode)

    def end_all(self) -> None:
        """End all episodes."""
        for episode in list(self._last_request):
            self._end(episode)

    def _make_room(self) -> None:
        while len(self._last_request) > MOST_OPEN:
            self._end(next(iter(self._last_request)))

    def _end(self, name: str) -> None:
        """Record that an episode has ended; what it cost and how good it was, its client knows alone."""
        del self._last_request[name]
        episode = self._state.episodes[name]
        node = episode.tree[episode.chosen or ROOT]
        self._record(ev.EpisodeFinished(episode=name, node=node.id, outcome=None, steps=node.depth))
        for known in [known for known in self._reachable if self._state.episodes[known].forgotten]:
            self._places.forget(known)
            del self._reachable[known]

    def _way(self, beginning: Beginning, busy: Collection[str]) -> _Way:
        place, turns = beginning
        episode = self._state.episodes[place.episode]
        children = episode.tree.children(place.node)
        waits = self._is_open(episode, busy) and not any(node.acted for node in children)
        if not turns:
            return _Way(_GO_ON if waits and not children else _BRANCH, beginning)
        child = _meant(turns[0].reply, children, episode.chosen)
        if not waits:
            return _Way(_OWN_BRANCH if child is None else _BRANCH, beginning, child)
        if child is None or len(turns) > 1:
            return _Way(_OWN_WORDS, beginning, child)
        return _Way(_GO_ON if child.id == episode.chosen else _SWITCH, beginning, child)

    def _go(self, request: ChatRequest, way: _Way) -> Place:
        """Bring an episode, or a fork of it, to the state in which the request asks for a reply."""
        place, turns = way.beginning
        child = way.child
        if way.rank in (_BRANCH, _OWN_BRANCH):
            if not turns and place.node == ROOT:
                return self._begin(request)
            place = self._fork(request, place, self._judged(place) if turns else self._acted(place))
            child = self._state.episodes[place.episode].tree.nodes.get(child.id) if child is not None else None
        for turn in turns:
            place = self._act(request, place, turn, child)
            child = None
        return place

    def _acted(self, place: Place) -> int:
        """The event by which a place was reached."""
        return self._state.episodes[place.episode].tree[place.node].acted_at

    def _is_open(self, episode: EpisodeState, busy: Collection[str]) -> bool:
        return episode.id in self._last_request and episode.id not in busy

    def _judged(self, place: Place) -> int:
        """The event by which the replies at a place were known and judged, before one was chosen."""
        episode = self._state.episodes[place.episode]
        number = self._acted(place)
        for recorded in episode.history:
            event = recorded.event
            proposed = isinstance(event, ev.Proposed) and place.node in event.asked
            scored = isinstance(event, ev.Scored) and any(
                episode.tree[node].parent == place.node for group in event.groups for node in group
            )
            if proposed or scored:
                number = recorded.number
        return number

    def _act(self, request: ChatRequest, place: Place, turn: Turn, child: Node | None) -> Place:
        """Record which reply the client went on with, and what it sent after it."""
        episode = self._state.episodes[place.episode]
        if child is None:
            child = self._own_words(episode, place.node, turn.reply)
        elif child.pruned:
            self._record(ev.Overridden(episode=episode.id, what="unprune", node=child.id))
        if episode.chosen != child.id:
            self._record(ev.Chosen(episode=episode.id, node=child.id))
        kept = () if turn.reply == child.reply else (Message("assistant", turn.reply),)
        sent = (*kept, *_needed(turn.messages, bool(kept)))
        observed = ev.ActedNode(child.id, observation(turn.messages), None, messages=sent)
        self._record(ev.Acted(episode=episode.id, nodes=(observed,)))
        return self._note(request, Place(episode.id, child.id))

    def _own_words(self, episode: EpisodeState, parent: NodeId, reply: str) -> Node:
        """A reply that nobody here gave: the client's own, or one that it changed."""
        node = f"{parent}.{episode.ordinals.get(parent, 0)}"
        self._record(ev.Overridden(episode=episode.id, what="proposal", node=parent, reply=reply))
        proposed = ev.ProposedNode(node, parent, reply, None, source="human")
        self._record(ev.Proposed(episode=episode.id, asked=(parent,), nodes=(proposed,)))
        return episode.tree[node]

    def _begin(self, request: ChatRequest) -> Place:
        """A fresh episode; where the client's name for it is known, it names the one that it comes after."""
        before = self._named.get(request.episode) if request.episode else None
        if before is not None and not self._state.episodes[before].forgotten:
            name, since = self._fork_name(before), self._state.episodes[before].tree.root.created
        else:
            name, since, before = str(self._begun), -1, ""
            self._begun += 1
        goal = next((message for message in request.messages if message.role == "user"), request.messages[-1])
        last = request.messages[-1]
        self._record(
            ev.EpisodeStarted(
                episode=name,
                task=request.episode or f"conversation {name}",
                goal=goal.content,
                observation="" if last is goal else observation((last,)),
                step_limit=0,
                reward_instruction=request.reward_instruction,
                parent=before,
                parent_event=since,
                messages=request.messages,
            )
        )
        return self._note(request, Place(name, ROOT))

    def _fork(self, request: ChatRequest, place: Place, event: int) -> Place:
        """An episode that shares another one's events up to a number."""
        name = self._fork_name(place.episode)
        start = self._state.episodes[place.episode].start
        self._record(
            ev.EpisodeStarted(
                episode=name,
                task=start.task,
                goal=start.goal,
                observation=start.observation,
                step_limit=0,
                reward_instruction=request.reward_instruction or start.reward_instruction,
                parent=place.episode,
                parent_event=event,
                messages=start.messages,
            )
        )
        return self._note(request, Place(name, place.node))

    def _fork_name(self, parent: str) -> str:
        return f"{parent}.f{1 + sum(episode.start.parent == parent for episode in self._state.episodes.values())}"

    def _note(self, request: ChatRequest, place: Place) -> Place:
        """Make a place known under the conversation that leads to it."""
        episode = self._state.episodes[place.episode]
        self._reachable[place.episode] = None
        self._places.add(request.space, policy_conversation(episode.start, episode.tree, place.node), place)
        return place


def observation(messages: Conversation) -> str:
    """What a client sent, as the text that is shown."""
    return "\n".join(message.content for message in messages)


def _needed(messages: Conversation, reworded: bool) -> Conversation:
    """Messages that the observation alone would not give back: all but a single one of the user."""
    return () if len(messages) == 1 and messages[0].role == "user" and not reworded else messages


def _meant(said: str, children: Sequence[Node], chosen: NodeId | None) -> Node | None:
    """The reply that a client keeps: the same but for space around it; else the answer, where only its end differs.

    Harnesses strip what they keep, cut it at a text of their own, or put the stop text behind it again.
    """
    text = said.strip()
    same = next((node for node in children if node.reply.strip() == text), None)
    answer = next((node.reply.strip() for node in children if node.id == chosen), "")
    if same is None and text and answer and (text.startswith(answer) or answer.startswith(text)):
        return next(node for node in children if node.id == chosen)
    return same
