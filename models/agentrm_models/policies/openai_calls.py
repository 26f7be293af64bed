"""Calls in a server's answers: read by its own parser (`tool_calls`), or left in the text where it has none."""

from __future__ import annotations

from agentrm_models.call_replies import read_reply, reply_of_call
from agentrm_models.messages import Call
from agentrm_models.notices import Notices
from agentrm_models.policies.base import Candidate, ProposeRequest
from agentrm_models.policies.openai_answers import Answer
from agentrm_models.replies import action_of


def read_calls(answer: Answer, request: ProposeRequest, server: str, notices: Notices) -> Answer:
    """An answer whose calls are actions in the common format.

    A call that nobody asked for is read as well, unless the reply names an action in words.

    Args:
        notices: Told of several calls in one reply, and of calls that nobody asked for.
    """
    candidates = [
        _read(candidate, calls, request, server, notices)
        for candidate, calls in zip(answer.candidates, answer.calls, strict=True)
    ]
    return answer._replace(candidates=candidates)


def _read(
    candidate: Candidate, calls: tuple[Call, ...], request: ProposeRequest, server: str, notices: Notices
) -> Candidate:
    functions, count = request.functions, len(calls)
    if functions is None:
        if calls:
            notices.add(f"{server} answers with tool calls, which cannot be read here: no functions were offered")
        return candidate
    if calls and not request.offer_functions:
        if action_of(candidate.text):
            return candidate
        notices.add(f"{server} answers with tool calls though none were asked for; see --actions tools", loud=True)
    if calls:
        candidate = candidate._replace(text=reply_of_call(candidate.text, calls[0], functions))
    elif request.offer_functions:
        text, count = read_reply(candidate.text, functions)
        candidate = candidate._replace(text=text)
    if count > 1:
        notices.add(f"{server}: some replies have several calls: the first one is taken")
    return candidate
