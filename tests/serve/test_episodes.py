"""Conversations become episodes: what a client sends is matched with what was answered before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_chat import FakeChat, FakeTaste, of_type, opened_run

from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Decoding
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.conversations import policy_conversation, reward_conversation
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import load_state, read_events
from agentrm_tui.serve.chat_request import ChatRequest
from agentrm_tui.serve.line import Line, Outcome, Ticket
from agentrm_tui.serve.refusals import Refusal
from agentrm_tui.serve.replies import Guided
from agentrm_tui.serve.rounds import RoundControl, Rounds


def user(text: str) -> Message:
    return Message("user", text)


def said(text: str) -> Message:
    return Message("assistant", text)


OPENING: Conversation = (Message("system", "Name colours."), user("Begin."))


class Served:
    """A run that answers the requests that a test puts to it, a round at a time."""

    def __init__(self, path: Path, idle: float = 100.0, **traits: Any) -> None:
        self.path = path
        self.now = 0.0
        self.policy, self.reward = FakeChat(**traits), FakeTaste()
        self._context = opened_run(path, self.policy, self.reward)
        self.events: list[ev.AnyEvent] = []
        self.line = Line(64, 8)
        self.control = RoundControl()
        self.rounds = Rounds(
            self._context.__enter__(),
            self.line,
            control=self.control,
            width=8,
            idle=idle,
            watch=self.events.append,
            clock=lambda: self.now,
        )
        self.rounds.begin()

    def ask_together(self, *conversations: Conversation, **fields: Any) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for number, messages in enumerate(conversations):
            request = ChatRequest(
                **{"choices": 1, "samples": 4, "decoding": Decoding(), "messages": messages, **fields}
            )
            self.line.join(Ticket(request, str(number), lambda outcome, n=number: outcomes.__setitem__(n, outcome)))
        self.rounds._round(self.line.take(0))
        return [outcomes[number] for number in range(len(conversations))]

    def ask(self, *messages: Message, **fields: Any) -> Guided:
        (outcome,) = self.ask_together(messages, **fields)
        assert isinstance(outcome, Guided), outcome
        return outcome

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.rounds._episodes.end_idle(self.now)

    def end(self) -> RunState:
        self.control.stopping = True
        self.rounds.run()
        self._context.__exit__(None, None, None)
        return load_state(self.path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield Served(tmp_path / "run.jsonl")


def text(guided: Guided) -> str:
    return guided.chosen[0].text


def test_the_best_of_the_samples_is_the_answer_and_the_others_are_cut(served: Served) -> None:
    guided = served.ask(*OPENING)
    rewards = [reply.reward for reply in guided.replies]
    assert len(rewards) > 1
    assert rewards == sorted(rewards, reverse=True)
    assert guided.choices == (0,)
    assert sum(reply.samples for reply in guided.replies) == 4
    assert guided.replies[0].margin == 0
    assert guided.replies[1].margin == pytest.approx(rewards[1] - rewards[0])
    tree = served.end().episodes["0"].tree
    assert {node.id for node in tree if node.pruned} == {reply.node for reply in guided.replies[1:]}
    assert tree[guided.chosen[0].node].chosen


def test_a_request_that_continues_the_answer_is_the_next_step(served: Served) -> None:
    first = served.ask(*OPENING)
    second = served.ask(*OPENING, said(text(first)), user("Another."))
    third = served.ask(*OPENING, said(text(first)), user("Another."), said(f"\n{text(second)} "), user("Last."))
    assert [first.episode, second.episode, third.episode] == ["0", "0", "0"]
    assert third.chosen[0].node.count(".") == 3
    state = served.end()
    (episode,) = state.episodes.values()
    path = episode.tree.path(third.chosen[0].node)
    assert [node.observation for node in path] == ["", "Another.", "Last.", None]
    assert (episode.status, episode.steps, episode.outcome) == ("finished", 3, None)


def test_the_policy_reads_what_the_client_sent_and_the_run_file_gives_it_back(served: Served) -> None:
    first = served.ask(*OPENING)
    asked: Conversation = (*OPENING, said(text(first)), user("tool: 1"), user("Go on."), Message("system", "Be brief."))
    second = served.ask(*asked)
    assert served.policy.calls[-1][0].conversation == asked
    assert served.policy.calls[-1][0].whole_turn
    judged = served.reward.calls[-1][0].items[0]
    state = served.end()
    episode = state.episodes["0"]
    parent = second.chosen[0].node.rpartition(".")[0]
    assert policy_conversation(episode.start, episode.tree, parent) == asked
    first_new = episode.tree[parent].children[0]
    assert reward_conversation(episode.start, episode.tree, first_new) == judged
    assert episode.tree[parent].observation == "tool: 1\nGo on.\nBe brief."


def test_a_reply_that_the_client_keeps_with_another_end_is_the_same_node(served: Served) -> None:
    first = served.ask(*OPENING, decoding=Decoding(stop=(".",)))
    asked = (*OPENING, said(f"{text(first)}.\n</code>"), user("Another."))
    second = served.ask(*asked)
    assert second.chosen[0].node.startswith(f"{first.chosen[0].node}.")
    assert served.policy.calls[-1][0].conversation == asked
    third = served.ask(*asked, said(text(second)[:-4]), Message("system", "Last."))
    assert third.chosen[0].node.startswith(f"{second.chosen[0].node}.")
    assert of_type(served.events, ev.Overridden) == []
    episode = served.end().episodes["0"]
    kept = episode.tree[second.chosen[0].node.rpartition(".")[0]]
    assert (kept.observation, policy_conversation(episode.start, episode.tree, kept.id)) == ("Another.", asked)


def test_an_empty_reply_is_not_the_beginning_of_all_others(served: Served) -> None:
    served.ask(*OPENING)
    served.ask(*OPENING, said(""), user("Another."))
    assert [event.what for event in of_type(served.events, ev.Overridden)] == ["proposal"]


def test_another_instruction_for_the_reward_model_takes_the_place_of_the_systems(served: Served) -> None:
    served.ask(*OPENING, reward_instruction="Judge colours.")
    assert served.policy.calls[-1][0].conversation == OPENING
    assert served.reward.calls[-1][0].items[0][:2] == (Message("system", "Judge colours."), user("Begin."))


def test_equal_first_requests_are_episodes_of_their_own(served: Served) -> None:
    one, two = served.ask_together(OPENING, OPENING)
    three = served.ask(*OPENING)
    assert isinstance(one, Guided) and isinstance(two, Guided)
    assert [one.episode, two.episode, three.episode] == ["0", "1", "2"]
    noises = [request.noise for call in served.policy.calls for request in call]
    assert len(set(noises)) == 3


def test_equal_conversations_are_continued_each_by_itself(served: Served) -> None:
    one = served.ask(*OPENING, seed=1)
    two = served.ask(*OPENING, seed=1)
    assert text(one) == text(two)
    asked = (*OPENING, said(text(one)), user("Another."))
    assert [served.ask(*asked).episode, served.ask(*asked).episode] == ["0", "1"]


def test_a_finished_run_of_equal_conversations_does_not_catch_those_that_come_later(served: Served) -> None:
    for name in ("0", "1", "2"):
        conversation = OPENING
        for step in range(3):
            guided = served.ask(*conversation, seed=7)
            assert guided.episode == name
            conversation = (*conversation, said(text(guided)), user(f"Step {step}."))


def test_equal_seeds_give_equal_answers(served: Served) -> None:
    answers = [[reply.text for reply in served.ask(*OPENING, seed=seed).replies] for seed in (5, 6, 5)]
    assert answers[0] == answers[2] != answers[1]


def test_a_client_that_goes_back_forks_its_episode(served: Served) -> None:
    first = served.ask(*OPENING)
    served.ask(*OPENING, said(text(first)), user("Another."))
    other = served.ask(*OPENING, said(text(first)), user("Something else."))
    again = served.ask(*OPENING, said(text(first)), user("Another."))
    assert other.episode == "0.f1"
    assert again.episode == "0.f2"
    state = served.end()
    fork = state.episodes["0.f1"]
    assert (fork.start.parent, fork.start.messages) == ("0", OPENING)
    assert [node.observation for node in fork.tree.path(other.chosen[0].node)] == ["", "Something else.", None]
    assert fork.tree[first.chosen[0].node].reward_value == first.chosen[0].reward


def test_a_client_may_go_on_with_another_choice(served: Served) -> None:
    first = served.ask(*OPENING, choices=2)
    other = first.chosen[1]
    second = served.ask(*OPENING, said(other.text), user("Another."))
    assert second.episode == "0"
    assert second.chosen[0].node.startswith(f"{other.node}.")


def test_a_client_may_go_on_with_a_reply_that_was_cut(served: Served) -> None:
    first = served.ask(*OPENING)
    second = served.ask(*OPENING, said(first.replies[-1].text), user("Another."))
    assert second.chosen[0].node.startswith(f"{first.replies[-1].node}.")
    assert [event.what for event in of_type(served.events, ev.Overridden)] == ["unprune"]


def test_a_client_may_put_its_own_words_in_place_of_the_answer(served: Served) -> None:
    served.ask(*OPENING)
    second = served.ask(*OPENING, said("I say nothing."), user("Another."))
    assert second.episode == "0"
    tree = served.end().episodes["0"].tree
    own = tree[second.chosen[0].node.rpartition(".")[0]]
    assert (own.reply, own.source, own.reward_value) == ("I say nothing.", "human", None)


def test_a_conversation_that_began_elsewhere_is_an_opening(served: Served) -> None:
    asked = (*OPENING, said("I say red."), user("Another."))
    guided = served.ask(*asked)
    assert guided.chosen[0].node.count(".") == 1
    assert served.end().episodes["0"].start.messages == asked


def test_clients_with_names_are_kept_apart(served: Served) -> None:
    first = served.ask(*OPENING, space="user a")
    asked = (*OPENING, said(text(first)), user("Another."))
    assert served.ask(*asked, space="user b").episode == "1"
    assert served.ask(*asked, space="user a").episode == "0"


def test_a_named_conversation_with_another_history_names_the_one_before(served: Served) -> None:
    named = {"space": "episode x", "episode": "x"}
    first = served.ask(*OPENING, **named)
    shorter = served.ask(user("So far: one colour."), **named)
    assert (first.episode, shorter.episode) == ("0", "0.f1")
    state = served.end()
    episode = state.episodes["0.f1"]
    assert (episode.start.task, episode.start.parent) == ("x", "0")
    assert {node.id for node in episode.tree} == {"0", *(reply.node for reply in shorter.replies)}


def test_a_conversation_that_nobody_continues_ends_and_can_be_forked(served: Served) -> None:
    first = served.ask(*OPENING)
    served.wait(99)
    assert of_type(served.events, ev.EpisodeFinished) == []
    served.wait(1)
    (finished,) = of_type(served.events, ev.EpisodeFinished)
    assert (finished.episode, finished.outcome, finished.steps) == ("0", None, 1)
    late = served.ask(*OPENING, said(text(first)), user("Another."))
    assert late.episode == "0.f1"


def test_what_fails_is_told_and_can_be_asked_again(served: Served) -> None:
    failures = [RuntimeError("no luck")]

    def fail(requests: Any) -> None:
        if failures:
            raise failures.pop()

    served.policy._hook = fail
    (refusal,) = served.ask_together(OPENING)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, "no luck" in refusal.message) == (500, True)
    assert served.ask(*OPENING).episode == "0"
    assert [event.message for event in of_type(served.events, ev.Fault)] == ["RuntimeError: no luck"]


def test_one_that_fails_does_not_stop_the_others(served: Served) -> None:
    def fail(requests: Any) -> None:
        if any("bad" in request.conversation[-1].content for request in requests):
            raise RuntimeError("no luck")

    served.policy._hook = fail
    bad, good = served.ask_together((user("bad"),), (user("good"),))
    assert isinstance(bad, Refusal)
    assert isinstance(good, Guided)


def test_what_the_policy_cannot_read_is_refused_before_it_is_an_episode(tmp_path: Path) -> None:
    served = Served(tmp_path / "run.jsonl", context_length=20)
    (refusal,) = served.ask_together((user("word " * 30),))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, refusal.param) == (400, "context_length_exceeded", "messages")
    assert of_type(served.events, ev.EpisodeStarted) == []
    served.ask(user("word " * 10), decoding=Decoding(max_tokens=50))
    assert served.policy.calls[-1][0].decoding.max_tokens == 9


def test_a_reply_ends_before_a_stop_text(served: Served) -> None:
    guided = served.ask(*OPENING, decoding=Decoding(stop=(" say",)))
    (reply,) = guided.replies
    assert (reply.text, reply.samples, reply.ending, reply.log_probability) == ("I", 4, "stop", None)


def test_a_reply_that_was_cut_off_says_so(served: Served) -> None:
    guided = served.ask(*OPENING, decoding=Decoding(max_tokens=2))
    assert [reply.ending for reply in guided.replies] == ["length"]


def test_temperature_zero_is_sampled_once_and_fills_all_choices(served: Served) -> None:
    guided = served.ask(*OPENING, decoding=Decoding(temperature=0), choices=3)
    assert guided.choices == (0, 0, 0)
    assert served.policy.calls[-1][0].n == 1


def test_choices_are_distinct_while_there_are_distinct_replies(served: Served) -> None:
    guided = served.ask(*OPENING, choices=6, samples=6)
    assert len(guided.choices) == 6
    assert guided.choices[: len(guided.replies)] == tuple(range(len(guided.replies)))
    for place, reply in enumerate(guided.replies):
        assert guided.choices.count(place) == reply.samples


def test_requests_of_a_round_are_one_call(served: Served) -> None:
    served.ask_together(*((user(f"Hello {number}."),) for number in range(5)))
    assert [len(call) for call in served.policy.calls] == [5]
    assert [len(call) for call in served.reward.calls] == [5]


def test_a_run_without_a_reward_model_scores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    answers: list[Outcome] = []
    with opened_run(path, FakeChat(), None) as opened:
        line, control = Line(4, 4), RoundControl()
        rounds = Rounds(opened, line, control=control, width=4, idle=9, watch=lambda _: None)
        rounds.begin()
        line.join(Ticket(ChatRequest(OPENING, 1, 1, Decoding()), "", answers.append))
        rounds._round(line.take(0))
        control.stopping = True
        rounds.run()
    (guided,) = answers
    assert isinstance(guided, Guided)
    assert (guided.replies[0].reward, guided.replies[0].margin) == (None, None)
    events = list(read_events(path))
    assert of_type(events, ev.Scored) == []
    assert (events[-1].score_mean, events[-1].scores, events[-1].reason) == (None, (), "finished")


def test_old_episodes_are_forgotten_with_their_places(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.rounds._state.trees_kept = 2
    for number in range(6):
        served.ask(user(f"Hello {number}."))
        served.wait(100)
    assert len(served.rounds._episodes._places) == 2
    assert served.ask(user("Hello 0.")).episode == "6"
