"""The rounds of a serving run: the requests that wait are answered together, by one owner of models and run file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal, NamedTuple

import msgspec

from agentrm_models.errors import AgentRMError, InterruptedRun, MemoryExhaustedError
from agentrm_models.messages import Conversation
from agentrm_models.policies.base import CountsTokens, Decoding, NoiseKey, ProposeRequest
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.trie.ledger import begin_run
from agentrm_models.usage import Progress, Usage
from agentrm_tui.environments.served import ServedConversations
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.calls import ModelAnswer, Players, Proposals, ProposeCall, ScoreCall, Scores
from agentrm_tui.runs.control import CallAbandoned, RunFreely
from agentrm_tui.runs.conversations import policy_conversation, reward_conversation
from agentrm_tui.runs.merging import merge_candidates
from agentrm_tui.runs.model_calls import Call, ModelCalls
from agentrm_tui.runs.open_run import OpenRun
from agentrm_tui.runs.opening import fitted_plan, run_started
from agentrm_tui.runs.state import EpisodeState, RunState, apply
from agentrm_tui.runs.texts import printable
from agentrm_tui.serve.chat_request import ChatRequest
from agentrm_tui.serve.episodes import Episodes
from agentrm_tui.serve.line import Line, Ticket, closing
from agentrm_tui.serve.places import Place
from agentrm_tui.serve.refusals import Refusal
from agentrm_tui.serve.replies import Ending, Guided, Judged, Sample, ended, fill

TREES_KEPT = 256
"""Ended episodes from which a conversation can still be forked."""

IDLE_CHECK = 1.0
"""Seconds between two looks at episodes that nobody continues."""

CUT = "a lower reward"
"""Why a reply is not the answer."""


class Rejudged(NamedTuple):
    """What became of the samples of one request: new nodes, and how each reply ended."""

    nodes: tuple[ev.ProposedNode, ...]
    endings: dict[str, Ending]


class Work(NamedTuple):
    """A ticket whose place is found.

    Attributes:
        decoding: As asked for, but with no more tokens than there is room for.
        prompt_tokens: Of its messages; None where the policy cannot count.
    """

    ticket: Ticket
    place: Place
    decoding: Decoding
    prompt_tokens: int | None


class RoundControl(RunFreely):
    """Gives up a model call when the endpoint ends, or when all clients of the round have gone.

    Args:
        waits: Told what holds a call up.
    """

    def __init__(self, waits: Callable[[str], None] = lambda words: None) -> None:
        self.stopping = False
        self.tickets: Sequence[Ticket] = ()
        self._waits = waits

    def progress(self, progress: Progress) -> None:
        """Go on, or give up; say what holds a call up."""
        if progress.held_up:
            self._waits(progress.held_up)
        if self.stopping:
            raise InterruptedRun("the endpoint is ending")
        if self.tickets and all(ticket.gone for ticket in self.tickets):
            raise CallAbandoned("all clients have gone")


class Rounds:
    """A run without tasks: it begins, answers requests until it is stopped, and ends.

    Args:
        opened: The models and the run file.
        line: Where requests wait.
        control: Whose `stopping` ends it.
        watch: Told each event once it is in the file.
        idle: Seconds after which an episode that nobody continues has ended.
        clock: Seconds.
    """

    def __init__(
        self,
        opened: OpenRun,
        line: Line,
        *,
        control: RoundControl,
        width: int,
        idle: float,
        watch: Callable[[ev.AnyEvent], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._opened = opened
        self._line = line
        self._control = control
        self._width = width
        self._watch = watch
        self._clock = clock
        self._began = clock()
        self._policy, self._reward = opened.policy, opened.reward
        self._players = Players(opened.policy.traits, opened.reward.traits if opened.reward else None)
        self._plan = fitted_plan(opened.plan, self._players, ServedConversations().traits)
        self._calls = ModelCalls(opened.policy, opened.reward, control)
        self._state = RunState(trees_kept=TREES_KEPT)
        self._episodes = Episodes(self._state, self._record, idle)

    def begin(self) -> None:
        """Write what the run begins with."""
        self._record(run_started(self._plan, self._players, ServedConversations().traits, self._width))
        for event in self._opened.loading:
            self._record(event)

    def run(self) -> None:
        """Answer requests until the control stops; then all that wait are refused, and the run ends."""
        reason: Literal["finished", "failed"] = "failed"
        try:
            while not self._control.stopping:
                self._round(self._line.take(IDLE_CHECK))
                self._episodes.end_idle(self._clock())
            reason = "finished"
        finally:
            for ticket in self._line.close():
                ticket.answer(closing())
            self._episodes.end_all()
            ledger = msgspec.structs.replace(self._state.ledger, seconds=round(self._clock() - self._began, 3))
            self._record(ev.RunFinished(score_mean=None, scores=(), ledger=ledger, reason=reason))

    def _record(self, event: ev.AnyEvent) -> None:
        stamped = msgspec.structs.replace(event, at=round(self._clock() - self._began, 3))
        self._opened.write(stamped)
        apply(self._state, stamped)
        self._watch(stamped)

    def _round(self, tickets: Sequence[Ticket]) -> None:
        """Answer the tickets of a round together; whatever happens, each gets an answer."""
        if not tickets:
            return
        began = self._clock()
        self._control.tickets = tickets
        try:
            self._judge(self._propose(self._place(tickets)))
        except CallAbandoned:
            pass
        except InterruptedRun:
            self._refuse(tickets, closing())
        except MemoryExhaustedError as error:
            self._record(ev.Fault(message=error.cause, remedy=error.remedy))
            self._refuse(tickets, Refusal(503, str(error), code="out_of_memory", retry_after=1))
        finally:
            self._control.tickets = ()
            self._refuse(tickets, Refusal(500, "the request was given up", code="internal_error"))
        self._line.note_round(self._clock() - began)

    def _refuse(self, tickets: Sequence[Ticket], refusal: Refusal) -> None:
        """Refuse those that have no answer yet."""
        for ticket in tickets:
            ticket.answer(refusal)

    def _place(self, tickets: Sequence[Ticket]) -> list[Work]:
        """Find the episode of each request; what the policy cannot read is refused before it is one."""
        if not self._episodes.open:
            self._start_afresh()
        works: list[Work] = []
        for ticket in tickets:
            request = ticket.request
            try:
                count = self._prompt_tokens(request)
            except Refusal as refusal:
                ticket.answer(refusal)
                continue
            busy = {work.place.episode for work in works}
            place = self._episodes.stand(request, self._clock(), busy)
            works.append(Work(ticket, place, self._within(request.decoding, count), count))
        return works

    def _start_afresh(self) -> None:
        """Nobody continues anything: caches and counts of tokens may begin anew."""
        begin_run()
        self._policy.new_episode()
        if self._reward is not None:
            self._reward.new_episode()

    def _within(self, decoding: Decoding, prompt_tokens: int | None) -> Decoding:
        """Let a reply end where the window does, so that nothing of the conversation is left out for it."""
        room = max(1, self._players.policy.context_length - 1 - (prompt_tokens or 0))
        if not self._players.policy.context_length or decoding.max_tokens + decoding.reasoning_tokens <= room:
            return decoding
        reasoning = min(decoding.reasoning_tokens, room // 2)
        limit = min(decoding.max_tokens, room - reasoning)
        return msgspec.structs.replace(decoding, max_tokens=limit, reasoning_tokens=reasoning)

    def _prompt_tokens(self, request: ChatRequest) -> int | None:
        """Tokens of the prompt; None where the policy cannot count.

        Raises:
            Refusal: 400, the policy's chat template refuses the conversation, or it leaves no room for a reply.
        """
        if not isinstance(self._policy, CountsTokens):
            return None
        window = self._players.policy.context_length
        try:
            count = self._policy.count_tokens(request.messages)
        except AgentRMError as error:
            raise Refusal(400, str(error), "messages", "invalid_messages") from None
        if window and count > window - 2:
            message = f"the policy reads {window:,} tokens; {count:,} of the messages leave no room for a reply"
            raise Refusal(400, message, "messages", "context_length_exceeded")
        return count

    def _propose(self, works: Sequence[Work]) -> list[tuple[Work, Rejudged, Proposals]]:
        """Sample replies for all, and record them."""
        calls: list[Call] = [(work.place.episode, ProposeCall((self._request(work),))) for work in works]
        answers = self._answers(works, calls) if calls else {}
        proposed = []
        for work in works:
            answer = answers.get(work.place.episode)
            if not isinstance(answer, Proposals):
                continue
            fresh = self._merge(work, answer)
            episode, node = work.place
            self._report_truncation(episode, "policy", answer.usage)
            cuts = [candidate.cut for found in answer.candidates for candidate in found]
            self._record(
                ev.Proposed(
                    episode=episode,
                    asked=(node,),
                    nodes=fresh.nodes,
                    usage=answer.usage,
                    cut_replies=cuts.count("reply"),
                    cut_reasoning=cuts.count("reasoning"),
                )
            )
            if fresh.nodes:
                proposed.append((work, fresh, answer))
            else:
                work.ticket.answer(Refusal(500, "the policy had no reply", code="no_reply"))
        return proposed

    def _request(self, work: Work) -> ProposeRequest:
        request, episode = work.ticket.request, self._episode(work)
        node = work.place.node
        noise = NoiseKey(self._plan.seed, episode.id, node, episode.drawn.get(node, 0))
        if request.seed is not None:
            noise = NoiseKey(request.seed, "", "")
        return ProposeRequest(
            conversation=policy_conversation(episode.start, episode.tree, node),
            n=self._samples(work),
            decoding=work.decoding,
            noise=noise,
            whole_turn=True,
            episode=episode.start.task,
        )

    def _samples(self, work: Work) -> int:
        """Replies to sample: one where all would be the same."""
        request = work.ticket.request
        return 1 if self._players.policy.deterministic or request.decoding.temperature == 0 else request.samples

    def _merge(self, work: Work, answer: Proposals) -> Rejudged:
        request, episode = work.ticket.request, self._episode(work)
        (candidates,) = answer.candidates
        samples = [ended(candidate, request.decoding.stop) for candidate in candidates]
        node = work.place.node
        nodes = merge_candidates(
            node,
            [sample.candidate for sample in samples],
            1,
            {child.reply: child.id for child in episode.tree.children(node)},
            episode.ordinals.get(node, 0),
            whole_turns=True,
        )
        return Rejudged(tuple(nodes), _endings(samples))

    def _judge(self, proposed: Sequence[tuple[Work, Rejudged, Proposals]]) -> None:
        """Score the replies of all, choose, and answer."""
        calls: list[Call] = []
        if self._reward is not None:
            calls = [(work.place.episode, ScoreCall((self._group(work, fresh),))) for work, fresh, _ in proposed]
        scores = self._answers([work for work, _, _ in proposed], calls) if calls else {}
        for work, fresh, answer in proposed:
            score = scores.get(work.place.episode)
            if isinstance(score, Scores):
                groups = (tuple(node.node for node in fresh.nodes),)
                values = tuple(tuple(group) for group in score.values)
                episode = work.place.episode
                self._report_truncation(episode, "reward", score.usage)
                self._record(ev.Scored(episode=episode, groups=groups, values=values, usage=score.usage))
            elif self._reward is not None:
                continue
            work.ticket.answer(self._choose(work, fresh, answer))

    def _group(self, work: Work, fresh: Rejudged) -> ScoreGroup:
        episode, reward = self._episode(work), self._players.reward
        style = reward.prompt if reward else "full"
        items: list[Conversation] = [
            reward_conversation(episode.start, episode.tree, node.node, style) for node in fresh.nodes
        ]
        return ScoreGroup(tuple(items))

    def _choose(self, work: Work, fresh: Rejudged, answer: Proposals) -> Guided:
        """Put the replies in order, cut those that are not in the answer, and choose the best."""
        episode, request = self._episode(work), work.ticket.request
        nodes = [episode.tree[node.node] for node in fresh.nodes]
        ranked = sorted(nodes, key=lambda node: -(node.reward_value or 0.0))
        best = ranked[0].reward_value
        margins = {
            node.id: None if best is None or node.reward_value is None else node.reward_value - best for node in ranked
        }
        choices = fill(range(len(ranked)), [node.samples for node in ranked], request.choices)
        cut = tuple(node.id for node in ranked[request.choices :])
        if cut:
            margin = tuple(margins[node] for node in cut)
            self._record(ev.Pruned(episode=episode.id, nodes=cut, why=CUT, margins=margin))
        self._record(ev.Chosen(episode=episode.id, node=ranked[0].id))
        (candidates,) = answer.candidates
        return Guided(
            run=self._state.run.run if self._state.run else "",
            episode=episode.id,
            replies=tuple(
                Judged(
                    node.id,
                    node.reply,
                    node.reward_value,
                    margins[node.id],
                    node.tokens,
                    node.samples,
                    node.log_probability if node.log_probability == node.log_probability else None,
                    fresh.endings[node.reply],
                    node.reasoning,
                    node.reasoning_tokens,
                )
                for node in ranked
            ),
            choices=choices,
            prompt_tokens=next(iter(answer.prompt_tokens), work.prompt_tokens),
            sampled_tokens=sum(candidate.tokens for candidate in candidates),
        )

    def _answers(self, works: Sequence[Work], calls: Sequence[Call]) -> dict[str, ModelAnswer]:
        """Do a round's calls; an error is noted in the episode and told its client."""
        answered = self._calls.answer(calls)
        for what, (notice, loud) in self._calls.found_out():
            self._record(ev.Noticed(what=what, notice=printable(notice), loud=loud))
        for work in works:
            error = answered.errors.get(work.place.episode)
            if error is not None:
                cause, remedy = _in_words(error)
                self._record(ev.Fault(episode=work.place.episode, message=cause, remedy=remedy))
                work.ticket.answer(Refusal(500, f"{cause}. {remedy}" if remedy else cause, code="model_failed"))
        return answered.answers

    def _report_truncation(self, episode: str, what: Literal["policy", "reward"], usage: Usage) -> None:
        if usage.dropped_observations:
            self._record(ev.Truncated(episode=episode, what=what, dropped=usage.dropped_observations))

    def _episode(self, work: Work) -> EpisodeState:
        return self._state.episodes[work.place.episode]


def _endings(samples: Sequence[Sample]) -> dict[str, Ending]:
    """How each distinct reply ended: the first sample that gave it counts."""
    endings: dict[str, Ending] = {}
    for sample in samples:
        endings.setdefault(printable(sample.candidate.text), sample.ending)
    return endings


def _in_words(error: Exception) -> tuple[str, str]:
    if isinstance(error, AgentRMError):
        return error.cause, error.remedy
    return f"{type(error).__name__}: {error}"[:500], ""
