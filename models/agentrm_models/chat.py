"""Conversations as token ids: chat formatting by segments, tokenised message by message.

The ids of a conversation are the concatenation of the ids of its messages. So the ids of a history are a prefix of the
ids of everything that follows it, and a sampled reply keeps its ids when it has become history: what a prefix cache
lives on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from agentrm_models.chat_template import ChatTemplate, RefusingTemplateError
from agentrm_models.control_tokens import Covering, control_tokens
from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation, Message, Role, merge_system
from agentrm_models.reasoning import MARK_ENDS, Marks, closed_by, marker_tokens, opened_by, split_reasoning

MEMORY_CHARACTERS = 64_000_000
"""Characters of rendered text that are remembered; beyond that the memory is emptied (only time is lost)."""

SHORT_TEXT, SHORT_TEXTS = 200, 20_000
"""Texts of at most so many characters are remembered with their ids, so many of them."""

_PROBE = "\u2402probe\u2403"
PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token or '' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
"""Used for models that bring no chat template of their own."""


class Segment(NamedTuple):
    """The token ids that one message adds to a conversation.

    Attributes:
        ids: Token ids, the template's own tokens included.
        role: Whose message it is. The generation prompt is an assistant segment without a trained span.
        start: First id that an assistant is trained on: where its reply begins.
        stop: One after the last such id, the end-of-turn token included; `start == stop` for other roles.
    """

    ids: list[int]
    role: Role
    start: int = 0
    stop: int = 0


class _Prefix:
    """A conversation seen before: its rendered text, its segments, and the conversations that continue it."""

    __slots__ = ("follow", "messages", "prompt", "segment", "text")

    def __init__(self, messages: Conversation, text: str, segment: Segment | None) -> None:
        self.messages = messages
        self.text = text
        self.segment = segment
        self.prompt: tuple[int, ...] | None = None
        self.follow: dict[Message, _Prefix] = {}


class ChatEncoder:
    """Turns conversations into segments of token ids with one tokenizer's chat template, and remembers them.

    Args:
        tokenizer: A `transformers` tokenizer. Without a chat template `PLAIN_TEMPLATE` is used.
        stop_ids: Further ids that end a turn, such as those of a model's generation configuration.
        plain: The template of a tokenizer that brings none.

    Attributes:
        end_of_turn: The id behind a reply.
        stop_ids: Ids that end a turn.
        opened: Marks of reasoning that the template opens before every reply.
        implied: Marks of which the template names the closing text alone: a reply may begin inside them.

    Raises:
        DataError: The chat template is broken or does not come to an end.
    """

    TEMPLATE_NAMES: tuple[str, ...] = ("default",)
    """Which of several templates is taken: the first of these that there is."""

    def __init__(self, tokenizer: Any, stop_ids: tuple[int, ...] = (), plain: str = PLAIN_TEMPLATE) -> None:
        self.tokenizer = tokenizer
        source = _source(tokenizer, plain, self.TEMPLATE_NAMES)
        self._template = ChatTemplate(
            source,
            tokenizer.special_tokens_map,
            str(tokenizer.name_or_path or "the model"),
        )
        self._refused_with = ""
        self._special = tuple(control_tokens(tokenizer).values())
        self._root = _Prefix((), "", None)
        self._characters = 0
        self._short: dict[str, list[int]] = {}
        self._breaks: dict[int, bool] = {}
        self._completes: dict[int, bool] = {}
        self._covering = Covering(tokenizer, source)
        self._marks = marker_tokens(control_tokens(tokenizer))
        self._system_works = self._try_render((Message("system", "s"), Message("user", "u"))) is not None
        self._tails = self._find_tails()
        self.end_of_turn = self._find_end_of_turn()
        self.stop_ids = _stop_ids(tokenizer, self.end_of_turn, stop_ids)
        prompt = self._prompt_text()
        self.opened = opened_by(prompt)
        self.implied = None if self.opened else closed_by(source, prompt)

    def segments(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[Segment]:
        """Encode a conversation, one segment for each message.

        Where a template cannot render a beginning of the conversation alone, its message has an empty segment and
        the next one carries the ids of both. Where the template rewrites earlier messages once later ones exist, the
        whole conversation is one segment, in the place of its last message.

        Raises:
            DataError: The template refuses the conversation.
        """
        messages = self._merge_system(conversation)
        if self._characters > MEMORY_CHARACTERS:
            self._root, self._characters = _Prefix((), "", None), 0
        node, segments = self._root, []
        for message in messages:
            node = node.follow.get(message) or self._extend(node, message)
            if node.segment is None:
                return self._whole(messages, add_generation_prompt)
            segments.append(node.segment)
        if messages and not segments[-1].ids and (messages[-1].role == "assistant" or not any(s.ids for s in segments)):
            self._refuse(messages)
        if messages and not add_generation_prompt and _lost(segments[-1], messages[-1]):
            return [self._as_written(messages, node.text)]
        if add_generation_prompt:
            prompt = self._generation_prompt(node)
            if prompt is None:
                return self._whole(messages, True)
            segments.append(Segment(list(prompt), "assistant"))
        return segments

    def ids(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[int]:
        """The concatenated ids of all segments."""
        return [token for segment in self.segments(conversation, add_generation_prompt) for token in segment.ids]

    def decode(self, ids: list[int]) -> str:
        """The text of sampled ids, without special tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def marked_text(self, ids: list[int]) -> str:
        """The text of sampled ids as `decode` gives it, with the marks of reasoning that are special tokens."""
        if not self._marks or not any(token in self._marks for token in ids):
            return self.decode(ids)
        parts, run = list[str](), list[int]()
        for token in ids:
            if token in self._marks:
                parts += [self.decode(run) if run else "", self._marks[token]]
                run = []
            else:
                run.append(token)
        return "".join([*parts, self.decode(run) if run else ""])

    def mark_of(self, token: int) -> str:
        """The text of a special token that marks of reasoning are made of; empty for all others."""
        return self._marks.get(token, "")

    def completes_mark(self, token: int) -> bool:
        """Whether a mark around reasoning may end with this token."""
        known = self._completes.get(token)
        if known is None:
            known = self._completes[token] = not MARK_ENDS.isdisjoint(self.marked_text([token]))
        return known

    def closing_ids(self, marks: Marks) -> list[int]:
        """What ends reasoning in the model's place."""
        return self._encode(marks.forced)

    def breaks_line(self, token: int) -> bool:
        """Whether a token's text contains a line break."""
        known = self._breaks.get(token)
        if known is None:
            known = self._breaks[token] = "\n" in self.decode([token])
        return known

    def _extend(self, parent: _Prefix, message: Message) -> _Prefix:
        messages = (*parent.messages, message)
        text = self._try_render(messages)
        if text is None:
            node = _Prefix(messages, parent.text, Segment([], message.role))
        elif text.startswith(parent.text):
            node = _Prefix(messages, text, self._tokenise(text[len(parent.text) :], message))
        else:
            node = _Prefix(messages, text, None)
        self._characters += len(node.text)
        parent.follow[message] = node
        return node

    def _tokenise(self, text: str, message: Message) -> Segment:
        if message.role != "assistant":
            return Segment(self._encode_rendered(text), message.role)
        head, body, tail = _split_content(text, self._covering.cover(message), self._tails.get(message.role, ""))
        before, reply, after = (self._encode_rendered(part) for part in (head, body, tail))
        start, stop = len(before), len(before) + len(reply) + min(1, len(after))
        return Segment(before + reply + after, message.role, start, stop if body or not message.content else start)

    def _as_written(self, messages: Conversation, rendered: str) -> Segment:
        """The conversation with its last reply as the model wrote it, where the template shows less of it.

        Raises:
            DataError: Not only reasoning is missing.
        """
        last = messages[-1]
        said = split_reasoning(self._covering.cover(last)).reply
        if " ".join(said.split()) not in " ".join(rendered.split()):
            raise DataError(
                f"{self.tokenizer.name_or_path or 'The model'}: its chat template leaves out what a reply says, so "
                "that nothing could be learnt from replies or told of them",
                "Use a model whose template shows them.",
            )
        return self.written_turn(messages)

    def written_turn(self, conversation: Conversation) -> Segment:
        """A conversation whose last reply follows the prompt that the model is given, as in generation.

        Where that prompt has opened reasoning, a reply without any ends it first.
        """
        prompt = self.ids(conversation[:-1], add_generation_prompt=True)
        content = conversation[-1].content
        if self.opened is not None:
            if content.lstrip().startswith(self.opened.opening):
                content = content.lstrip().removeprefix(self.opened.opening).lstrip("\n")
            elif not self.opened.ends.search(content):
                content = self.opened.forced + content
        reply = self._encode_rendered(self._covering.cover(Message("assistant", content)))
        end = [self.end_of_turn] if self.end_of_turn is not None else []
        return Segment(prompt + reply + end, "assistant", len(prompt), len(prompt) + len(reply) + len(end))

    def _whole(self, messages: Conversation, add_generation_prompt: bool) -> list[Segment]:
        text = self._try_render(messages, add_generation_prompt)
        if text is None:
            self._refuse(messages)
            return []
        last = messages[-1]
        if last.role == "assistant" and not add_generation_prompt:
            segment = self._tokenise(text, last)
            return [self._as_written(messages, text) if _lost(segment, last) else segment]
        return [Segment(self._encode_rendered(text), last.role)]

    def _generation_prompt(self, node: _Prefix) -> tuple[int, ...] | None:
        if node.prompt is None:
            text = self._try_render(node.messages, True)
            if text is None:
                self._refuse(node.messages)
                return ()
            if not text.startswith(node.text):
                return None
            node.prompt = tuple(self._encode_rendered(text[len(node.text) :]))
        return node.prompt

    def _merge_system(self, conversation: Conversation) -> Conversation:
        """Put the system message in front of the first user message where the template knows no system role."""
        return conversation if self._system_works else merge_system(conversation)

    def _render(self, messages: Conversation, add_generation_prompt: bool) -> str:
        rows = [{"role": message.role, "content": self._covering.cover(message)} for message in messages]
        return self._template.render(rows, add_generation_prompt)

    def _try_render(self, messages: Conversation, add_generation_prompt: bool = False) -> str | None:
        try:
            return self._render(messages, add_generation_prompt)
        except RefusingTemplateError as error:
            self._refused_with = str(error)
            return None

    def _refuse(self, messages: Conversation) -> None:
        roles = ", ".join(message.role for message in messages[:6])
        why = f" ({self._refused_with})" if self._refused_with else ""
        raise DataError(f"The model's chat template refuses a conversation of {roles}{why}", "Use a chat model.")

    def _encode(self, text: str) -> list[int]:
        """Ids of a text; short ones, such as what a template puts around every message, are remembered."""
        if not text:
            return []
        known = self._short.get(text)
        if known is None:
            known = list(self.tokenizer.encode(text, add_special_tokens=False))
            if len(text) <= SHORT_TEXT:
                if len(self._short) >= SHORT_TEXTS:
                    self._short.clear()
                self._short[text] = known
        return list(known)

    def _encode_rendered(self, text: str) -> list[int]:
        """Encode what a template made: control tokens in it are its own, those that were covered plain characters."""
        if not self._covering.has_covered(text):
            return self._encode(text)
        plain = self._covering.plain_ids
        return [
            token
            for piece in self._covering.pieces(text)
            for token in (plain(piece.text) if piece.plain else self._encode(piece.text))
        ]

    def _find_tails(self) -> dict[Role, str]:
        """What the template puts after the content of a message, found with a text that no template contains."""
        tails: dict[Role, str] = {}
        before: tuple[Message, ...] = ()
        for role in ("user", "assistant"):
            text = self._try_render((*before, Message(role, _PROBE)))
            tails[role] = text.rpartition(_PROBE)[2] if text is not None else ""
            before = (Message("user", "u"),)
        tails["system"] = ""
        return tails

    def _prompt_text(self) -> str:
        """What the template puts before a reply."""
        messages = (Message("user", _PROBE),)
        asked, alone = self._try_render(messages, True) or "", self._try_render(messages) or ""
        return asked[len(alone) :] if asked.startswith(alone) else asked.rpartition(_PROBE)[2]

    def _find_end_of_turn(self) -> int | None:
        """The id after a reply: the template's own where it has one, otherwise the tokenizer's end of sequence."""
        tail = self._encode(self._tails["assistant"])
        if tail and tail[0] in self.tokenizer.all_special_ids:
            return tail[0]
        end: int | None = self.tokenizer.eos_token_id
        return end


def encode_conversation(
    tokenizer: Any, conversation: Conversation, add_generation_prompt: bool = False
) -> list[Segment]:
    """Encode with a tokenizer's own encoder, made once for each tokenizer (see `ChatEncoder.segments`)."""
    return encoder_of(tokenizer).segments(conversation, add_generation_prompt)


def encoder_of(tokenizer: Any) -> ChatEncoder:
    """The encoder that belongs to a tokenizer object."""
    encoder = getattr(tokenizer, "_agentrm_encoder", None)
    if not isinstance(encoder, ChatEncoder) or encoder.tokenizer is not tokenizer:
        encoder = ChatEncoder(tokenizer)
        tokenizer._agentrm_encoder = encoder
    return encoder


def _source(tokenizer: Any, plain: str, names: tuple[str, ...]) -> str:
    """A tokenizer's chat template; of several, the first of these names."""
    template = getattr(tokenizer, "chat_template", None) or plain
    if isinstance(template, dict):
        template = next((template[name] for name in names if name in template), next(iter(template.values())))
    return str(template)


def _lost(segment: Segment, message: Message) -> bool:
    """Whether a template does not show a reply as it was written."""
    return message.role == "assistant" and segment.start == segment.stop and bool(message.content.strip())


def _split_content(text: str, content: str, tail: str) -> tuple[str, str, str]:
    """Split a rendered message into what the template put before, the content (stripped if need be), and after."""
    for body in (content, content.strip()):
        if text.endswith(body + tail):
            head = text[: len(text) - len(tail) - len(body)]
            return head, body, tail
    body = content.strip()
    at = text.rfind(body) if body else -1
    return (text[:at], body, text[at + len(body) :]) if at >= 0 else (text, "", "")


def _stop_ids(tokenizer: Any, end_of_turn: int | None, more: tuple[int, ...]) -> tuple[int, ...]:
    found = [end_of_turn, tokenizer.eos_token_id, *more]
    return tuple(sorted({token for token in found if token is not None}))
