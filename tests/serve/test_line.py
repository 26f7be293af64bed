"""The line: bounded, fair between clients, left by those who go."""

from __future__ import annotations

import pytest

from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding
from agentrm_tui.serve.chat_request import ChatRequest
from agentrm_tui.serve.line import Line, Outcome, Ticket
from agentrm_tui.serve.refusals import Refusal

REQUEST = ChatRequest((Message("user", "hello"),), 1, 1, Decoding())


def ticket(client: str) -> Ticket:
    return Ticket(REQUEST, client, lambda _: None)


def test_rounds_take_one_of_each_client_in_turn() -> None:
    line = Line(100, 3)
    for client in "aaaaabc":
        line.join(ticket(client))
    rounds = [[taken.client for taken in line.take(0)] for _ in range(4)]
    assert rounds == [["a", "b", "c"], ["a", "a", "a"], ["a"], []]


def test_a_client_with_many_requests_does_not_hold_up_one_with_few() -> None:
    line = Line(100, 2)
    for _ in range(10):
        line.join(ticket("many"))
    line.take(0)
    line.join(ticket("few"))
    assert "few" in [taken.client for taken in line.take(0)]


def test_a_full_line_says_when_to_ask_again() -> None:
    line = Line(2, 1)
    line.note_round(9.0)
    line.join(ticket("a"))
    line.join(ticket("b"))
    with pytest.raises(Refusal) as error:
        line.join(ticket("c"))
    assert (error.value.status, error.value.headers()) == (429, {"retry-after": "15"})


def test_one_that_goes_leaves_its_place() -> None:
    line = Line(2, 4)
    first, second = ticket("a"), ticket("a")
    line.join(first)
    line.join(second)
    line.leave(first)
    line.join(ticket("b"))
    assert [taken.client for taken in line.take(0)] == ["a", "b"]
    line.leave(second)
    assert second.gone


def test_a_closed_line_lets_nobody_in() -> None:
    line = Line(2, 1)
    line.join(ticket("a"))
    assert [left.client for left in line.close()] == ["a"]
    with pytest.raises(Refusal) as error:
        line.join(ticket("b"))
    assert (error.value.status, error.value.retry_after > 0) == (503, True)
    assert line.take(5) == []


def test_a_ticket_is_answered_once() -> None:
    answers: list[Outcome] = []
    one = Ticket(REQUEST, "a", answers.append)
    first, second = Refusal(500, "first"), Refusal(500, "second")
    one.answer(first)
    one.answer(second)
    assert answers == [first]
    assert one.answered
