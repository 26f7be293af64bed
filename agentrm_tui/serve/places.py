"""Where a request stands: which episode, at which node, its messages continue.

A harness sends the whole conversation with every request. The conversations that were seen so far are kept as digests,
one for each state in which a reply was asked for, so a request is found by the beginnings of it that are known.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from agentrm_models.messages import Conversation, Message
from agentrm_tui.search.tree import NodeId


class Place(NamedTuple):
    """An acted node of an episode."""

    episode: str
    node: NodeId


class Turn(NamedTuple):
    """A reply that the client says was given, and what it sent after it: one message at least."""

    reply: str
    messages: Conversation


class Beginning(NamedTuple):
    """A beginning of a conversation that is known.

    Attributes:
        place: Where it is known from.
        turns: What the conversation has behind it; none where a reply is asked for right there.
    """

    place: Place
    turns: tuple[Turn, ...] = ()


class Places:
    """All states in which replies were asked for, by the digest of the conversation up to there."""

    def __init__(self) -> None:
        self._known: dict[bytes, dict[Place, None]] = {}
        self._digests: dict[str, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, space: str, conversation: Conversation, place: Place) -> None:
        """Note that a conversation ends at a place."""
        digest = digests(space, conversation)[-1]
        self._known.setdefault(digest, {})[place] = None
        self._digests.setdefault(place.episode, []).append(digest)

    def beginnings(self, space: str, conversation: Conversation) -> list[Beginning]:
        """All known beginnings after which only whole turns follow: the longest first, of equal ones the oldest."""
        chain = digests(space, conversation)
        found = [Beginning(place) for place in self._known.get(chain[-1], ())]
        for end in range(len(conversation) - 1, 0, -1):
            known = self._known.get(chain[end - 1])
            if known and (turns := turns_of(conversation[end:])):
                found += [Beginning(place, turns) for place in known]
        return found

    def forget(self, episode: str) -> None:
        """Drop all places of an episode."""
        for digest in self._digests.pop(episode, ()):
            places = self._known.get(digest, {})
            for place in [place for place in places if place.episode == episode]:
                del places[place]
            if not places:
                self._known.pop(digest, None)


def digests(space: str, conversation: Conversation) -> list[bytes]:
    """For each message a digest of the conversation up to and including it."""
    chain, last = [], blake2b(space.encode("utf-8", "replace"), digest_size=16).digest()
    for message in conversation:
        text = f"{message.role}\0{same_text(message)}".encode("utf-8", "replace")
        last = blake2b(last + text, digest_size=16).digest()
        chain.append(last)
    return chain


def same_text(message: Message) -> str:
    """What is compared of a message: many harnesses strip the replies that they keep."""
    return message.content.strip() if message.role == "assistant" else message.content


def turns_of(messages: Conversation) -> tuple[Turn, ...]:
    """Cut messages into replies, each with what follows it; nothing where they are not whole turns."""
    turns: list[Turn] = []
    for message in messages:
        if message.role == "assistant":
            turns.append(Turn(message.content, ()))
        elif not turns:
            return ()
        else:
            turns[-1] = turns[-1]._replace(messages=(*turns[-1].messages, message))
    return tuple(turns) if all(turn.messages for turn in turns) else ()
