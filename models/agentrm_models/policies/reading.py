"""What a model reads for a request: its conversation as text, or in calls where it is offered functions."""

from __future__ import annotations

from typing import NamedTuple

from agentrm_models.call_replies import in_calls
from agentrm_models.messages import Conversation
from agentrm_models.policies.base import ProposeRequest


class Reading(NamedTuple):
    """A conversation, and the number of messages of each demonstration in it."""

    conversation: Conversation
    demonstrations: tuple[int, ...]


def reading_of(request: ProposeRequest) -> Reading:
    """The conversation of a request as its model reads it."""
    if request.offered is None:
        return Reading(request.conversation, request.demonstrations)
    return Reading(*in_calls(request.conversation, request.offered, request.demonstrations))
