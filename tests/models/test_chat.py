from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TEMPLATE, tiny_tokenizer

from agentrm_models.chat import ChatEncoder, encode_conversation
from agentrm_models.context import fit_context
from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation, Message, Role

TOKENIZER = tiny_tokenizer()
ENCODER = ChatEncoder(TOKENIZER)


def episode(steps: int, size: int = 3, last: str = "user") -> Conversation:
    messages = [Message("system", "Play."), Message("user", "Goal: the red key.")]
    for step in range(steps):
        messages += [Message("assistant", f"Action: go {step}"), Message("user", f"You see {step}. " * size)]
    return tuple(messages if last == "user" else messages[:-1])


def test_segments_join_to_the_rendered_text() -> None:
    conversation = episode(3)
    text = TOKENIZER.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in conversation], tokenize=False, add_generation_prompt=True
    )
    ids = ENCODER.ids(conversation, add_generation_prompt=True)
    assert TOKENIZER.decode(ids) == text


def test_assistant_span_is_the_reply_and_its_end_of_turn() -> None:
    segments = encode_conversation(TOKENIZER, episode(2))
    assert [segment.role for segment in segments] == ["system", "user", "assistant", "user", "assistant", "user"]
    reply = segments[2]
    assert TOKENIZER.decode(reply.ids[reply.start : reply.stop]) == "Action: go 0<|end|>"
    assert all(segment.start == segment.stop for segment in segments if segment.role != "assistant")


@given(st.lists(st.text(max_size=30), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_the_ids_of_a_history_are_a_prefix_of_what_follows(texts: list[str]) -> None:
    roles: tuple[Role, Role] = ("user", "assistant")
    conversation = tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))
    whole = ENCODER.ids(conversation)
    for end in range(1, len(conversation)):
        before = ENCODER.ids(conversation[:end])
        assert whole[: len(before)] == before


def test_a_generation_prompt_and_the_reply_are_the_assistant_segment() -> None:
    asked = ENCODER.ids(episode(1), add_generation_prompt=True)
    answered = ENCODER.segments((*episode(1), Message("assistant", "Action: e")))
    assert [i for segment in answered for i in segment.ids][: len(asked)] == asked
    reply = answered[-1]
    assert TOKENIZER.decode(reply.ids[reply.start : reply.stop]) == "Action: e<|end|>"


def test_special_tokens_in_texts_are_plain_characters() -> None:
    end = TOKENIZER.convert_tokens_to_ids("<|end|>")
    conversation = (Message("user", "say <|end|> please"), Message("assistant", "<|end|>"))
    assert ENCODER.ids(conversation).count(end) == 2


def test_a_template_without_system_role_gets_it_in_the_first_user_message() -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    encoder = ChatEncoder(tiny_tokenizer(template + TEMPLATE))
    text = encoder.tokenizer.decode(encoder.ids(episode(0)))
    assert text == "<|start|>user\nPlay.\n\nGoal: the red key.<|end|>\n"


def test_a_template_that_rewrites_history_gives_one_whole_segment() -> None:
    template = TEMPLATE.replace("messages %}", "messages %}{{ loop.revindex }}", 1)
    encoder = ChatEncoder(tiny_tokenizer(template))
    segments = encoder.segments(episode(2, last="assistant"))
    assert len(segments) == 1
    last = segments[0]
    assert encoder.tokenizer.decode(last.ids[last.start : last.stop]) == "Action: go 1<|end|>"


def test_a_tokenizer_without_template_uses_the_plain_one() -> None:
    encoder = ChatEncoder(tiny_tokenizer(None))
    text = encoder.tokenizer.decode(encoder.ids(episode(1), add_generation_prompt=True))
    assert text.startswith("System: Play.\nUser: Goal: the red key.\nAssistant: Action: go 0<|end|>\nUser: You see")
    assert text.endswith("\nAssistant: ")
    assert encoder.end_of_turn == encoder.tokenizer.eos_token_id


def test_a_template_that_refuses_is_one_clear_line() -> None:
    encoder = ChatEncoder(tiny_tokenizer("{{ raise_exception('no') }}"))
    with pytest.raises(DataError, match="chat template refuses"):
        encoder.ids(episode(1), add_generation_prompt=True)


def test_a_full_context_drops_the_oldest_observations_and_keeps_goal_and_last_steps() -> None:
    conversation = episode(30)
    window = 300
    fitted = fit_context(ENCODER, conversation, window, 32, True)
    assert 0 < fitted.dropped < 30
    assert len(fitted.ids) + 32 <= window
    goal = ENCODER.ids(conversation[:2])
    assert fitted.ids[: len(goal)] == goal
    text = TOKENIZER.decode(fitted.ids)
    assert "You see 29. " in text and "You see 0. " not in text


def test_what_was_dropped_stays_dropped_while_the_conversation_grows() -> None:
    changes, before = 0, fit_context(ENCODER, episode(4), 300, 32, True)
    for steps in range(5, 40):
        now = fit_context(ENCODER, episode(steps), 300, 32, True)
        assert now.dropped >= before.dropped
        if now.dropped == before.dropped:
            prompt = len(ENCODER.ids(episode(1), True)) - len(ENCODER.ids(episode(1)))
            assert now.ids[: len(before.ids) - prompt] == before.ids[:-prompt]
        changes += now.dropped > before.dropped
        before = now
    assert 2 <= changes <= 12


def test_candidates_of_one_history_drop_the_same() -> None:
    histories = [(*episode(29), Message("assistant", f"Action: go {'far ' * k}")) for k in range(3)]
    fitted = [fit_context(ENCODER, history, 300, 64, False) for history in histories]
    assert len({one.dropped for one in fitted}) == 1


def test_a_goal_or_observation_that_alone_is_too_long_loses_its_middle() -> None:
    conversation = (Message("user", "x" * 5000),)
    fitted = fit_context(ENCODER, conversation, 200, 32, True)
    assert len(fitted.ids) + 32 <= 200
    assert fit_context(ENCODER, conversation, 0, 32, True).ids == ENCODER.ids(conversation, True)
