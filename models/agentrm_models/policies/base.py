"""The policy interface: conversations in, candidate replies out, no state in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from agentrm_models.functions import ActionFunctions
from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.usage import ProgressHook, Usage

CandidateSource: TypeAlias = Literal["policy", "expert", "noise"]
Cut: TypeAlias = Literal["", "reply", "reasoning"]
"""Where a limit ended a reply before it was complete: in the reply itself, or inside the reasoning before it."""


class Decoding(msgspec.Struct, frozen=True):
    """How replies are sampled.

    Attributes:
        temperature: 0 is argmax (lowest id on ties), and then only one candidate may be asked for.
        top_p: Share of probability mass kept; 1 keeps all.
        max_tokens: Tokens a reply may have at most.
        reasoning_tokens: Tokens that reasoning before the reply may have, beside `max_tokens`; at 0 it has no budget of
            its own and counts within `max_tokens`.
        stop: Texts before which a whole turn ends, apart from its reasoning.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 64
    reasoning_tokens: int = 0
    stop: tuple[str, ...] = ()


class NoiseKey(msgspec.Struct, frozen=True):
    """What sampling noise depends on, besides the candidate's number and the token's position.

    Noise is counter-based, so that results depend neither on batching nor on what was sampled before.

    Attributes:
        seed: The run's seed.
        task: The task's id.
        node: The id of the node whose children are proposed.
        first_candidate: Number of candidates sampled from this node before this request.
    """

    seed: int
    task: str
    node: str
    first_candidate: int = 0


class ProposeRequest(msgspec.Struct, frozen=True):
    """Ask for candidate replies to one conversation, which ends in a user message.

    Attributes:
        n: Number of samples, equal ones included.
        exclude: Actions that the candidates should not repeat. Backends that cannot constrain may resample.
        valid_actions: Given only when the policy says it wants them.
        expert_action: Given only when the policy says it wants it.
        whole_turn: Let a reply go on behind its action, until its turn ends.
        episode: Requests that share a beginning have it in common: of several servers they go to the same one.
        demonstrations: Messages of each example episode between the instruction and the goal, in order.
        functions: The actions as functions: how a call is read, wherever one comes; None where nothing could read it.
        offer_functions: Offer them to the model, and tell it the history in calls. Equal for all requests of a call.
    """

    conversation: Conversation
    n: int
    decoding: Decoding
    noise: NoiseKey
    exclude: tuple[str, ...] = ()
    valid_actions: tuple[str, ...] = ()
    expert_action: str = ""
    whole_turn: bool = False
    episode: str = ""
    demonstrations: tuple[int, ...] = ()
    functions: ActionFunctions | None = None
    offer_functions: bool = False

    @property
    def offered(self) -> ActionFunctions | None:
        """The functions, where the model is offered them."""
        return self.functions if self.offer_functions else None


class Candidate(NamedTuple):
    """One sampled reply.

    Attributes:
        text: The reply as sampled, without the end-of-turn token and without reasoning.
        log_probability: Sum over its sampled tokens at temperature 1, reasoning and end-of-turn included, in nats; NaN
            where unknown.
        tokens: Number of sampled tokens, reasoning and end-of-turn included.
        source: Whose it is: the policy's own, the expert's beside it, or a disturbance that nobody should learn.
        reasoning: What the model wrote for itself before the reply, without its markers. Never parsed for actions.
        reasoning_tokens: Tokens of the reasoning, among `tokens`; 0 where nobody tells.
        cut: Whether a limit ended it before it was complete, and where.
    """

    text: str
    log_probability: float
    tokens: int
    source: CandidateSource = "policy"
    reasoning: str = ""
    reasoning_tokens: int = 0
    cut: Cut = ""


class PolicyTraits(NamedTuple):
    """What a runner must know about a policy.

    Attributes:
        name: The name shown on screen and written in run files.
        digest: Identity of the weights (hex), empty where there are none.
        prompt: Which instruction the policy is given.
        wants_valid_actions: Fill `ProposeRequest.valid_actions`.
        wants_expert: Fill `ProposeRequest.expert_action`.
        interactive: A person answers; the runner waits for an override instead of calling `propose`.
        context_length: Tokens the model can read; 0 where there is no limit.
        deterministic: Always gives the same single reply (expert, scripted): more than one sample is waste.
        environments: Names of the environments it was trained on; empty where nothing says so.
    """

    name: str
    digest: str = ""
    prompt: PromptStyle = "full"
    wants_valid_actions: bool = False
    wants_expert: bool = False
    interactive: bool = False
    context_length: int = 0
    deterministic: bool = False
    environments: tuple[str, ...] = ()


class Policy(Protocol):
    """Proposes replies. Stateless to its caller: equal requests get equal answers."""

    @property
    def notice(self) -> str:
        """What a person should know of how it was loaded, in one line; empty where there is nothing."""
        ...

    @property
    def traits(self) -> PolicyTraits:
        """Fixed facts about this policy."""
        ...

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far; callers subtract two readings."""
        ...

    def propose(self, requests: Sequence[ProposeRequest], progress: ProgressHook = ...) -> list[list[Candidate]]:
        """Answer each request with `request.n` candidates, in order, or with none where there is nothing to propose.

        Raises:
            UsageError: Temperature 0 with `n > 1`.
            MemoryExhaustedError: No memory left even for one sequence at a time.
            InterruptedRun: Raised by the progress hook.
        """
        ...

    def new_episode(self) -> None:
        """Nothing before this call will be asked for again soon: caches may drop it."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A policy that reads with a tokenizer of its own."""

    def count_tokens(self, conversation: Conversation) -> int:
        """Tokens of a conversation and of what begins the next reply, nothing left out."""
        ...


@runtime_checkable
class ReportsPrompts(Protocol):
    """A policy whose server reads, and says how much."""

    @property
    def prompt_tokens(self) -> Sequence[int]:
        """Tokens of the conversation of each request of the last call; 0 where the server does not tell."""
        ...


@runtime_checkable
class SpeaksCalls(Protocol):
    """A policy whose model may take functions and answer with calls."""

    def refuses_functions(self, functions: ActionFunctions) -> str:
        """Why it cannot be offered these functions, in words that follow its name; empty where it can."""
        ...
