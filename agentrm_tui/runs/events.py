"""The stream of events: everything that happens in a run, and all that the screen, replay and reports ever see.

Events are frozen and tagged (`type`). `apply` in `state.py` is the only thing that builds state from them. Except for
the fields named in `TIME_FIELDS`, two runs with the same settings write the same events.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from agentrm_models.messages import Conversation
from agentrm_models.usage import Usage
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.tree import Cut, NodeId, Phase, Source

FORMAT_VERSION = 2
TIME_FIELDS = ("at", "milliseconds", "run", "started_at", "seconds")


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all events have.

    Attributes:
        at: Seconds since the run started.
        episode: Id of the episode it belongs to; empty for the run itself.
    """

    at: float = 0.0
    episode: str = ""


class RunStarted(Event, frozen=True, kw_only=True, omit_defaults=False, tag="run_started"):
    """The first event of every file: all that is needed to repeat the run.

    Defaults are written too: a later version may have others, and must find this one's format number.

    Attributes:
        run: Short id of the run (8 hex digits), which every record of its file carries.
        plan: What was asked for; settings that the reward model fills in are filled in.
        origin: Where the environment comes from.
        policy_digest, reward_digest: Identity of the weights; empty where there are none.
        build: Version of the program.
        device: Where the models compute; never `auto`.
        parallel: Episodes driven at once; never 0.
        demonstrations: Example episodes that the policy is shown before each goal; each ends with a reply.
    """

    plan: RunPlan
    version: int = FORMAT_VERSION
    run: str = ""
    started_at: str = ""
    origin: str = ""
    policy_digest: str = ""
    reward_digest: str = ""
    build: str = ""
    device: str = "cpu"
    parallel: int = 1
    demonstrations: tuple[Conversation, ...] = ()


class ModelLoading(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model_loading"):
    """A model is being loaded, or has been (`milliseconds` > 0).

    Attributes:
        head: Which number of a reward model's outputs is the reward, in words; empty where there are no outputs.
    """

    what: Literal["policy", "reward", "environment"]
    name: str
    milliseconds: float = 0.0
    notice: str = ""
    head: str = ""


class EpisodeStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="episode_started"):
    """An environment was reset, or a client began a conversation.

    Attributes:
        messages: What a client sent, word for word, where the run serves clients: models are given this instead of
            instruction, goal and observation, and a reply is a whole turn in which no action is looked for.
        parent, parent_event: Of a fork: the episode it comes from, and the event up to which both are the same.
    """

    task: str
    goal: str
    observation: str
    step_limit: int
    level: str = ""
    instruction: str = ""
    reward_instruction: str = ""
    state_key: str = ""
    picture: str = ""
    parent: str = ""
    parent_event: int = -1
    messages: Conversation = ()

    @property
    def whole_turns(self) -> bool:
        """Whether replies are whole turns, in which no action is looked for."""
        return bool(self.messages)


class ProposedNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A new node, or more samples of an existing one (then only `node` and `samples` count).

    Attributes:
        log_probability: Of the reply at temperature 1, in nats; None where nobody tells it.
        source: Who proposed it first.
        reasoning: What the policy wrote for itself before the reply, up to a limit of characters.
        reasoning_tokens: Tokens of the reasoning, among `tokens`; 0 where nobody tells.
        cut: Where a limit ended the reply before it was complete.
    """

    node: NodeId
    parent: NodeId
    reply: str = ""
    log_probability: float | None = 0.0
    tokens: int = 0
    samples: int = 1
    source: Source = "policy"
    reasoning: str = ""
    reasoning_tokens: int = 0
    cut: Cut = ""


class Proposed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="proposed"):
    """Answers a `Propose`; `asked` keeps its order, so a node without candidates is visible.

    Attributes:
        cut_replies, cut_reasoning: Samples that a limit ended in their reply, and inside their reasoning.
    """

    asked: tuple[NodeId, ...]
    nodes: tuple[ProposedNode, ...]
    phase: Phase = "search"
    usage: Usage = Usage()
    cut_replies: int = 0
    cut_reasoning: int = 0


class Scored(Event, frozen=True, kw_only=True, omit_defaults=True, tag="scored"):
    """Answers a `Score`: nodes and their reward values, group by group."""

    groups: tuple[tuple[NodeId, ...], ...]
    values: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()


class Pruned(Event, frozen=True, kw_only=True, omit_defaults=True, tag="pruned"):
    """Answers a `Prune`.

    Attributes:
        margins: How far each node was from staying; None where it has no reward.
    """

    nodes: tuple[NodeId, ...]
    why: str
    margins: tuple[float | None, ...] = ()


class Chosen(Event, frozen=True, kw_only=True, omit_defaults=True, tag="chosen"):
    """Answers a `Choose`: the path to this node is the answer so far."""

    node: NodeId
    final: bool = False


class ActedNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one action did.

    Attributes:
        outcome: The environment's score, in [0, 1]; None where nobody tells one.
        messages: What a client sent after the reply, word for word; empty where it is the observation, as a user's. It
            begins with the reply where the client keeps that in another wording.
    """

    node: NodeId
    observation: str
    outcome: float | None
    done: bool = False
    valid: bool = True
    state_key: str = ""
    picture: str = ""
    messages: Conversation = ()


class Acted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="acted"):
    """Answers an `Act`.

    Attributes:
        env_steps: Every environment step taken for it, replayed prefixes included.
        refused: Actions that were refused before the environment saw them (too long, or none at all).
    """

    nodes: tuple[ActedNode, ...]
    env_steps: int = 0
    refused: int = 0
    milliseconds: float = 0.0


class Backpropagated(Event, frozen=True, kw_only=True, omit_defaults=True, tag="backpropagated"):
    """Answers a `Backpropagate`."""

    path: tuple[NodeId, ...]
    values: tuple[float, ...]


class Overridden(Event, frozen=True, kw_only=True, omit_defaults=True, tag="overridden"):
    """A person answered in the runner's place; the answer itself is the next event.

    `proposal` carries an own reply at `node`; `unprune` keeps `node` although the algorithm cut it.
    """

    what: Literal["proposal", "unprune"]
    node: NodeId
    reply: str = ""


class Rewound(Event, frozen=True, kw_only=True, omit_defaults=True, tag="rewound"):
    """The episode went back to just after event number `to` (0-based, in the file); later nodes are abandoned."""

    to: int


class Drifted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="drifted"):
    """A replayed action gave another observation than the recorded one."""

    node: NodeId
    expected: str
    seen: str


class Truncated(Event, frozen=True, kw_only=True, omit_defaults=True, tag="truncated"):
    """A context was full: the oldest observations were left out, down to half of the window."""

    what: Literal["policy", "reward"]
    dropped: int


class EpisodeFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="episode_finished"):
    """The search ended; `outcome` is that of the last chosen node's path, None where nobody tells one."""

    node: NodeId
    outcome: float | None
    steps: int
    done: bool = False


class Fault(Event, frozen=True, kw_only=True, omit_defaults=True, tag="fault"):
    """Something went wrong; with `fatal` the episode (or the run, without an episode) ended by it."""

    message: str
    remedy: str = ""
    fatal: bool = False


class Noticed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="noticed"):
    """A model found out something while it played, such as a parameter that its server refuses; told once.

    Attributes:
        loud: It changes results.
    """

    what: Literal["policy", "reward"]
    notice: str
    loud: bool = False


class Ledger(msgspec.Struct, frozen=True):
    """What a run cost, summed over its episodes.

    `transitions` counts distinct (path, action) pairs taken; `env_steps ÷ transitions` is 1.0 with exact snapshots.
    `cut_replies` and `cut_reasoning` count samples that a limit ended in their reply, and inside their reasoning.
    """

    policy_tokens_computed: int = 0
    policy_tokens_unique: int = 0
    policy_tokens_generated: int = 0
    reward_tokens_computed: int = 0
    reward_tokens_unique: int = 0
    env_steps: int = 0
    transitions: int = 0
    duplicates: int = 0
    requests: int = 0
    dropped_observations: int = 0
    seconds: float = 0.0
    cut_replies: int = 0
    cut_reasoning: int = 0


class RunFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="run_finished"):
    """The last event, unless the run was stopped and resumed later.

    Attributes:
        score_mean: Mean over the tasks that ended; a task that failed by a fault counts 0. None where nobody scores.
        scores: The score of each task, in [0, 1], in the order of the plan's tasks; null where it failed or is left.
        ledger: What the run cost; its seconds are wall-clock time.
    """

    score_mean: float | None
    scores: tuple[float | None, ...]
    ledger: Ledger
    reason: Literal["finished", "stopped", "failed"] = "finished"

    @property
    def ended(self) -> int:
        """Tasks that have a score."""
        return sum(score is not None for score in self.scores)

    @property
    def share(self) -> str:
        """How many of the tasks ended, in words; empty where all did."""
        return "" if self.ended == len(self.scores) else f"{self.ended} of {len(self.scores)} ended"


AnyEvent: TypeAlias = (
    RunStarted
    | ModelLoading
    | EpisodeStarted
    | Proposed
    | Scored
    | Pruned
    | Chosen
    | Acted
    | Backpropagated
    | Overridden
    | Rewound
    | Drifted
    | Truncated
    | EpisodeFinished
    | Fault
    | Noticed
    | RunFinished
)
