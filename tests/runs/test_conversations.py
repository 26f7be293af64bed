from __future__ import annotations

from agentrm_models.messages import Message
from agentrm_tui.runs.conversations import policy_conversation, reward_conversation
from agentrm_tui.runs.events import EpisodeStarted
from agentrm_tui.runs.texts import REPLY_LIMIT, kept_reply, printable
from agentrm_tui.search.tree import ROOT, Node, Tree

START = EpisodeStarted(
    episode="0",
    task="t",
    goal="win",
    observation="You are here.",
    step_limit=5,
    instruction="the rules",
    reward_instruction="the actions",
)
TREE = Tree(
    {
        ROOT: Node(ROOT, observation="You are here.", children=["0.0"]),
        "0.0": Node(
            "0.0", ROOT, 1, reply="Thought: t\nAction: a", action="a", observation="seen a", children=["0.0.1"]
        ),
        "0.0.1": Node("0.0.1", "0.0", 2, reply="Action: b", action="b", observation="seen b", outcome=1.0),
    }
)
HISTORY = (
    Message("user", "Goal: win\nYou are here."),
    Message("assistant", "Thought: t\nAction: a"),
    Message("user", "seen a"),
    Message("assistant", "Action: b"),
)


def test_the_policy_reads_everything_up_to_the_nodes_observation() -> None:
    assert policy_conversation(START, TREE, "0.0.1", "full") == (
        Message("system", "the rules"),
        *HISTORY,
        Message("user", "seen b"),
    )
    assert policy_conversation(START, TREE, ROOT, "short") == (Message("system", "the actions"), HISTORY[0])


def test_the_reward_model_reads_the_short_prompt_and_never_the_nodes_observation() -> None:
    assert reward_conversation(START, TREE, "0.0.1") == (Message("system", "the actions"), *HISTORY)
    assert reward_conversation(START, TREE, "0.0", "full") == (Message("system", "the rules"), *HISTORY[:2])


def test_a_long_reply_is_kept_short_and_keeps_its_meaning() -> None:
    from agentrm_models.replies import ACTION_LIMIT, parse_reply

    long_thought = f"Thought: {'x' * 9_000}\nAction: go north\nObservation: made up"
    assert parse_reply(kept_reply(long_thought)).action == "go north"
    long_action = f"Thought: {'x' * 1_900}\nAction: {'y' * 2_200}"
    assert len(parse_reply(kept_reply(long_action)).action) > ACTION_LIMIT
    assert parse_reply(kept_reply("z" * 9_000)).action == ""
    assert all(len(kept_reply(text)) <= REPLY_LIMIT for text in (long_thought, long_action, "z" * 9_000))
    assert kept_reply("Action: a") == "Action: a"


def test_what_utf8_cannot_write_is_replaced() -> None:
    assert printable("a\udcffb") == "a?b"
