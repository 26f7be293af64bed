"""Conversations as a server is given them: the tokens that a local model would read, fitted to the server's window."""

from __future__ import annotations

from random import Random
from typing import Any, Protocol

from agentrm_models.chat import ChatEncoder, encoder_of
from agentrm_models.context import fit_context
from agentrm_models.messages import Conversation, Message
from agentrm_models.notices import Notices
from agentrm_models.rewards.served.apis import Api, Scored

_WORDS = ("the", "key", "door", "box", "red", "green", "left", "right", "take", "open", "find", "goal", "lamp")


class Texts(Protocol):
    """Makes what a server is given of conversations."""

    def scored(self, conversation: Conversation, api: Api) -> Scored:
        """A conversation that ends in a reply, fitted to the window."""
        ...


class MessageTexts:
    """Leaves rendering and tokens to the server."""

    def scored(self, conversation: Conversation, api: Api) -> Scored:
        """The messages themselves."""
        return Scored(conversation)


class FolderTexts:
    """Renders and tokenises with the tokenizer and chat template of a folder.

    Args:
        tokenizer: The folder's.
        window: Tokens the server reads; 0 where that is not known.
        notices: Told where a server that takes only text would read other tokens.
    """

    def __init__(self, tokenizer: Any, window: int, notices: Notices) -> None:
        from agentrm_models.rewards.whole_text import WholeTextEncoder

        both_ways = tokenizer.cls_token_id is not None
        self._tokenizer = tokenizer
        self._encoder: ChatEncoder = WholeTextEncoder(tokenizer) if both_ways else encoder_of(tokenizer)
        self._adds = both_ways
        self._window = window
        self._notices = notices

    def scored(self, conversation: Conversation, api: Api) -> Scored:
        """The ids; as text, where the server tokenises it, the text that gives them."""
        fitted = fit_context(self._encoder, conversation, self._window, 0, False)
        text = self._text(fitted.ids, api) if api.form == "text" else ""
        return Scored(conversation, tuple(fitted.ids), text, fitted.dropped)

    def _text(self, ids: list[int], api: Api) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=self._adds, clean_up_tokenization_spaces=False)
        if self._tokenizer.encode(text, add_special_tokens=self._adds) != ids:
            self._notices.add(f"{api.server} takes text, of which it makes other tokens than a local model reads", True)
        return text


def probe_conversations(count: int) -> list[Conversation]:
    """Random conversations of one to three steps, always the same."""
    random = Random(5)

    def words(number: int) -> str:
        return " ".join(random.choice(_WORDS) for _ in range(number))

    found = []
    for number in range(count):
        turns = [Message("system", words(12)), Message("user", words(8))]
        for step in range(number % 3 + 1):
            turns += [Message("user", words(10))] * bool(step)
            turns.append(Message("assistant", f"Thought: {words(6)}\nAction: {words(3)}"))
        found.append(tuple(turns))
    return found
