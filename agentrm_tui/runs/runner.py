"""One episode: feeds a search with answers, one event for each, and hands model calls to whoever owns the models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Literal

import msgspec

from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, ProposeRequest
from agentrm_models.replies import format_reply, parse_reply
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.usage import Usage
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.answers import answer_of, answers_request, check_answer
from agentrm_tui.runs.calls import ModelAnswer, ModelCall, Players, Proposals, ProposeCall, ScoreCall, Scores
from agentrm_tui.runs.control import Control, Directive, KeepNode, Pending, PlayMove
from agentrm_tui.runs.conversations import policy_conversation, reward_conversation
from agentrm_tui.runs.merging import merge_candidates
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import EpisodeState, RunState, regrow, replant
from agentrm_tui.runs.texts import kept_reply
from agentrm_tui.runs.transitions import Transitions
from agentrm_tui.search.requests import Act, Answer, Backpropagate, Choose, Propose, Prune, Request, Score, Search
from agentrm_tui.search.tree import ROOT, NodeId


class EpisodeRunner:
    """Drives one episode without calling a model.

    `advance` works until a model call is needed, a directive was given, or the episode has ended. The caller does the
    call and hands the answer to the next `advance`.

    Args:
        episode: Its id; `state` already holds its `episode_started` event, and more when it is gone on with.
        record: Appends an event to the run and applies it to `state`.
    """

    def __init__(
        self,
        plan: RunPlan,
        state: RunState,
        episode: str,
        *,
        transitions: Transitions,
        players: Players,
        record: Callable[[ev.AnyEvent], None],
        control: Control,
    ) -> None:
        self.id = episode
        self.transitions = transitions
        self._plan = plan
        self._state = state
        self._players = players
        self._record = record
        self._control = control
        self._moves: dict[NodeId, str] = {}
        self._groups: tuple[tuple[NodeId, ...], ...] = ()
        self._call: ModelCall | None = None
        self._search: Search
        self.request: Request | None = None
        """The request that is to be answered next; None once the search has ended."""
        self._restart()

    @property
    def episode(self) -> EpisodeState:
        """The episode as it stands."""
        return self._state.episodes[self.id]

    def advance(self, answer: ModelAnswer | None = None) -> ModelCall | Directive | None:
        """Go on until a model call is needed, a directive is given, or (None) the episode has ended.

        Args:
            answer: Of the model call that was returned last; None to ask for the pending request again.
        """
        self._call = None
        if answer is not None:
            self._take(answer)
        while self.request is not None:
            directive = self._ask_control(self.request)
            if directive is not None:
                return directive
            self._call = self._answer(self.request)
            if self._call is not None:
                return self._call
        if self.episode.status == "running":
            self._finish()
        return None

    def waits_for(self, call: ModelCall) -> bool:
        """Whether the answer to this call is still wanted; a directive may have changed what is pending."""
        return self._call is call

    def rewind(self, to: int) -> None:
        """Go back to just after event `to`; later nodes are abandoned."""
        if to < self._first_event():
            self._refuse(f"event {to} lies before the start of this episode")
        elif self.episode.history and to < self.episode.history[-1].number:
            self._record(ev.Rewound(episode=self.id, to=to))
            self._moves.clear()
            self._restart()

    def play_move(self, move: PlayMove) -> None:
        """Carry out a `PlayMove`, now, after rewinding, or when the search comes to the node."""
        node = self.episode.tree.nodes.get(move.node)
        if node is None or not node.acted or node.done:
            self._refuse(f"no move can be played at node {move.node}")
            return
        if not self._pending_at(move.node):
            past = [
                recorded.number
                for recorded in self.episode.history
                if isinstance(recorded.event, ev.Proposed) and move.node in recorded.event.asked
            ]
            if past:
                self._rewind_before(past[-1])
        self._moves[move.node] = move.reply
        if self._pending_at(move.node):
            self._play(self.request)

    def keep_node(self, directive: KeepNode) -> None:
        """Carry out a `KeepNode`."""
        past = [
            recorded.number
            for recorded in self.episode.history
            if isinstance(recorded.event, ev.Pruned) and directive.node in recorded.event.nodes
        ]
        if past:
            self._rewind_before(past[-1])
        if not isinstance(self.request, Prune) or directive.node not in self.request.nodes:
            self._refuse(f"node {directive.node} was not cut")
            return
        self._record(ev.Overridden(episode=self.id, what="unprune", node=directive.node))
        self._cut(self.request, directive.node)

    def _refuse(self, message: str) -> None:
        self._record(ev.Fault(episode=self.id, message=message))

    def _pending_at(self, node: NodeId) -> bool:
        return isinstance(self.request, Propose) and node in self.request.nodes

    def _rewind_before(self, number: int) -> None:
        """Rewind so that the request which event `number` answered is pending again, before any override of it."""
        earlier = [past for past in self.episode.history if past.number < number]
        while earlier and not answers_request(earlier[-1].event):
            earlier.pop()
        self.rewind(earlier[-1].number if earlier else self._first_event())

    def _first_event(self) -> int:
        """The number to rewind to for an episode without history; a fork's history is older than its start."""
        start, history = self.episode.tree.root.created, self.episode.history
        return min(start, history[0].number - 1) if history else start

    def _restart(self) -> None:
        """A fresh search, fed the recorded answers on a tree that grows along with them."""
        history = replant(self.episode)
        self._call = None
        self._search = self._plan.search.start(self.episode.tree)
        self.request = next(self._search, None)
        for recorded in history:
            if answers_request(recorded.event):
                check_answer(self.request, recorded.event, recorded.number)
            regrow(self.episode, recorded)
            if answers_request(recorded.event):
                self._send(answer_of(recorded.event))
        self._complete()

    def _complete(self) -> None:
        """Tell what the last recorded event announced, where the run was cut off right after it."""
        last = self.episode.history[-1].event if self.episode.history else None
        match last, self.request:
            case ev.Overridden(what="proposal", node=node, reply=reply), Propose() as request:
                self._answer_by_hand(request, node, reply)
            case ev.Overridden(what="unprune", node=node), Prune() as request:
                self._cut(request, node)
            case _:
                return

    def _send(self, answer: Answer) -> None:
        self._call = None
        try:
            self.request = self._search.send(answer)
        except StopIteration:
            self.request = None

    def _settle(self, event: ev.AnyEvent) -> None:
        """Record an answering event and go on to the next request."""
        self._record(event)
        self._send(answer_of(event))

    def _ask_control(self, request: Request) -> Directive | None:
        pending = Pending(self.id, request, self._valid_actions)
        directive = self._control.before_request(pending)
        if directive is None and self._players.policy.interactive and isinstance(request, Propose):
            return None if self._moves.keys() & set(request.nodes) else self._control.await_move(pending)
        return directive

    def _valid_actions(self, node: NodeId) -> tuple[str, ...]:
        return self.transitions.valid_actions(self.episode.tree, node)

    def _answer(self, request: Request) -> ModelCall | None:
        """Answer a request, or return the model call it needs."""
        match request:
            case Propose():
                if self._moves.keys() & set(request.nodes):
                    self._play(request)
                    return None
                return ProposeCall(tuple(self._propose_request(request, place) for place in range(len(request.nodes))))
            case Score():
                return self._score(request)
            case Act():
                self._act(request)
            case Prune():
                self._cut(request)
            case Choose():
                self._settle(ev.Chosen(episode=self.id, node=request.node, final=request.final))
            case Backpropagate():
                self._settle(ev.Backpropagated(episode=self.id, path=request.path, values=request.values))
        return None

    def _take(self, answer: ModelAnswer) -> None:
        """Record what a model answered."""
        match self.request, answer:
            case Propose() as request, Proposals():
                self._report_truncation("policy", answer.usage)
                self._settle(self._proposed(request, answer))
            case Score(), Scores():
                self._report_truncation("reward", answer.usage)
                values = tuple(tuple(group) for group in answer.values)
                self._settle(ev.Scored(episode=self.id, groups=self._groups, values=values, usage=answer.usage))
            case request, _:
                raise TypeError(f"{type(answer).__name__} does not answer {request}")

    def _report_truncation(self, what: Literal["policy", "reward"], usage: Usage) -> None:
        if usage.dropped_observations:
            self._record(ev.Truncated(episode=self.id, what=what, dropped=usage.dropped_observations))

    def _propose_request(self, request: Propose, place: int) -> ProposeRequest:
        node_id, traits, plan = request.nodes[place], self._players.policy, self._plan
        tree, start = self.episode.tree, self.episode.start
        node = tree[node_id]
        if not node.acted or node.done:
            raise ValueError(f"the search proposes at node {node_id}, which has not been acted or is done")
        expert = ""
        if traits.wants_expert and self.transitions.environment.traits.expert:
            thought, action = self.transitions.stand_at(tree, node_id).expert()
            expert = format_reply(thought, action) if action else ""
        temperature = plan.temperature if request.temperature is None else request.temperature
        calls, shown = plan.actions == "tools", self._state.run.demonstrations if self._state.run else ()
        return ProposeRequest(
            conversation=policy_conversation(start, tree, node_id, traits.prompt, shown, calls),
            n=1 if traits.deterministic else request.counts[place],
            decoding=Decoding(temperature, plan.top_p, plan.max_tokens, plan.reasoning_tokens),
            noise=NoiseKey(plan.seed, self._noise_task(), node_id, self.episode.drawn.get(node_id, 0)),
            exclude=request.exclude[place] if request.exclude else (),
            valid_actions=self._valid_actions(node_id) if traits.wants_valid_actions else (),
            expert_action=expert,
            episode=self.episode.start.task,
            demonstrations=tuple(map(len, shown)),
            functions=self.transitions.functions,
            offer_functions=calls,
        )

    def _noise_task(self) -> str:
        """Forks draw other samples than the episode they come from."""
        start = self.episode.start
        return f"{start.task}#{self.id}" if start.parent else start.task

    def _proposed(self, request: Propose, answer: Proposals) -> ev.Proposed:
        """Merge the candidates of each node by parsed action; the first reply is kept."""
        nodes: list[ev.ProposedNode] = []
        cuts = [candidate.cut for candidates in answer.candidates for candidate in candidates]
        for place, candidates in enumerate(answer.candidates):
            parent = request.nodes[place]
            times = request.counts[place] if self._players.policy.deterministic else 1
            nodes += self._merge(parent, candidates, times)
        return ev.Proposed(
            episode=self.id,
            asked=request.nodes,
            nodes=tuple(nodes),
            phase=request.phase,
            usage=answer.usage,
            cut_replies=cuts.count("reply"),
            cut_reasoning=cuts.count("reasoning"),
        )

    def _merge(
        self, parent: NodeId, candidates: Sequence[Candidate], times: int, by_hand: bool = False
    ) -> list[ev.ProposedNode]:
        known = {child.action: child.id for child in self.episode.tree.children(parent)}
        return merge_candidates(parent, candidates, times, known, self.episode.ordinals.get(parent, 0), by_hand)

    def _play(self, request: Request | None) -> None:
        """Answer a pending proposal with the move that waits for one of its nodes."""
        if isinstance(request, Propose):
            node = next(node for node in request.nodes if node in self._moves)
            reply = kept_reply(self._moves.pop(node))
            reply = reply if parse_reply(reply).action else format_reply("", reply.strip())
            self._record(ev.Overridden(episode=self.id, what="proposal", node=node, reply=reply))
            self._answer_by_hand(request, node, reply)

    def _answer_by_hand(self, request: Propose, node: NodeId, reply: str) -> None:
        by_hand = self._merge(node, [Candidate(reply, math.nan, 0)], 1, by_hand=True)
        self._settle(ev.Proposed(episode=self.id, asked=request.nodes, nodes=tuple(by_hand), phase=request.phase))

    def _cut(self, request: Prune, kept: NodeId = "") -> None:
        margins = request.margins or (math.nan,) * len(request.nodes)
        cut = [(node, margin) for node, margin in zip(request.nodes, margins, strict=True) if node != kept]
        nodes = tuple(node for node, _ in cut)
        known = tuple(margin if math.isfinite(margin) else None for _, margin in cut) if request.margins else ()
        self._settle(ev.Pruned(episode=self.id, nodes=nodes, why=request.why, margins=known))

    def _score(self, request: Score) -> ModelCall | None:
        """Ask for the scores that are not known yet; a within-group scorer judges whole groups again."""
        traits = self._players.reward
        if traits is None:
            raise ValueError("the search asks for scores, but the run has no reward model")
        tree, start = self.episode.tree, self.episode.start
        again = traits.scale == "within_group"
        groups = (tuple(node for node in group if again or tree[node].reward_value is None) for group in request.groups)
        self._groups = tuple(group for group in groups if group)
        if not self._groups:
            self._settle(ev.Scored(episode=self.id, groups=(), values=()))
            return None
        return ScoreCall(
            tuple(
                ScoreGroup(tuple(reward_conversation(start, tree, node, traits.prompt) for node in group))
                for group in self._groups
            )
        )

    def _act(self, request: Act) -> None:
        tree, limit, began = self.episode.tree, self.episode.start.step_limit, perf_counter()
        nodes, refused = [], 0
        for node in request.nodes:
            if tree[node].acted:
                raise ValueError(f"the search acts node {node} twice")
            taken = self.transitions.take(tree, node)
            acted = taken.acted
            if tree[node].depth >= limit and not acted.done:
                acted = msgspec.structs.replace(acted, done=True)
            nodes.append(acted)
            refused += taken.refused
        event = ev.Acted(
            episode=self.id,
            nodes=tuple(nodes),
            env_steps=self.transitions.spent(),
            refused=refused,
            milliseconds=round((perf_counter() - began) * 1e3, 3),
        )
        self._settle(event)

    def _finish(self) -> None:
        """Record the result: that of the node chosen last, or of its last ancestor the environment has seen."""
        tree = self.episode.tree
        path = tree.path(self.episode.chosen or ROOT)
        node = next(node for node in reversed(path) if node.acted)
        self._record(
            ev.EpisodeFinished(
                episode=self.id, node=node.id, outcome=node.outcome or 0.0, steps=node.depth, done=node.done
            )
        )
