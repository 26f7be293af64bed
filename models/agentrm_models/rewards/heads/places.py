"""Conversations as ids that end at the token after which a reward head is read.

Each keeps the ids of a history a prefix of what follows it, which a prefix cache lives on.
"""

from __future__ import annotations

from agentrm_models.chat import ChatEncoder, Segment
from agentrm_models.context import Encodes
from agentrm_models.messages import Conversation, Message
from agentrm_models.rewards.heads.head import RewardHead

_PROBE = "probe"


def placed(encoder: ChatEncoder, head: RewardHead) -> Encodes:
    """An encoder whose ids end where a head is read."""
    place = head.place
    if head.step:
        return StepEncoder(encoder, head.step)
    if place.question:
        return QuestionEncoder(encoder, place.question)
    return TurnEncoder(encoder, place.turns) if place.turns else encoder


class StepEncoder:
    """Puts the ids of a separator behind every reply, before its end-of-turn token; the last one ends the text.

    Where a template rewrites earlier messages, only the last reply gets one.
    """

    def __init__(self, encoder: ChatEncoder, step: tuple[int, ...]) -> None:
        self._encoder = encoder
        self._step = list(step)
        reply = encoder.segments((Message("user", "u"), Message("assistant", _PROBE)))[-1]
        bare = encoder.tokenizer.encode(_PROBE, add_special_tokens=False)
        self._ends = int(reply.stop - reply.start > len(bare))

    def ids(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[int]:
        """The ids up to the separator of the last reply."""
        segments = self._encoder.segments(conversation)
        found = [token for segment in segments for token in self._marked(segment)]
        if segments and segments[-1].stop > segments[-1].start:
            return found[: len(found) - (len(segments[-1].ids) - self._end(segments[-1]))]
        return found

    def _end(self, segment: Segment) -> int:
        """Where a reply ends, its end-of-turn token left out."""
        return segment.stop - self._ends

    def _marked(self, segment: Segment) -> list[int]:
        if segment.stop == segment.start:
            return segment.ids
        end = self._end(segment)
        return segment.ids[:end] + self._step + segment.ids[end:]


class QuestionEncoder:
    """Asks a question after the reply; the ids end where the answer begins."""

    def __init__(self, encoder: ChatEncoder, question: str) -> None:
        self._encoder = encoder
        self._question = Message("user", question)

    def ids(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[int]:
        """The ids of the conversation, the question and the prompt for the answer."""
        if conversation and conversation[-1].role == "assistant":
            return self._encoder.ids((*conversation, self._question), True)
        return self._encoder.ids(conversation)


class TurnEncoder:
    """A conversation with a judge: what was seen and done in a step is the user's turn, and the judge approves of it.

    The layout is that of RLHFlow's process reward models, whose steps are turns of a user that are answered by `+`.
    """

    def __init__(self, encoder: ChatEncoder, approval: str) -> None:
        self._encoder = encoder
        self._approval = Message("assistant", approval)

    def ids(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[int]:
        """The ids up to where the judge answers the last step."""
        turns: list[Message] = []
        said: list[str] = []
        for at, message in enumerate(conversation):
            if message.role == "system":
                turns.append(message)
                continue
            said.append(message.content)
            if message.role == "assistant":
                turns.append(Message("user", " ".join(said)))
                said = []
                if at + 1 < len(conversation):
                    turns.append(self._approval)
        judged = not said
        if said:
            turns.append(Message("user", " ".join(said)))
        return self._encoder.ids(tuple(turns), judged and bool(turns))
