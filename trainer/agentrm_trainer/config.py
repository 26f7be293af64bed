"""The settings of a training pipeline: one section for each stage, every key with its unit and default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentrm_models.folder_settings import Aggregate

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=2**50)]
Positive = Annotated[int, Meta(ge=1, le=2**50)]
Tasks = Annotated[int, Meta(ge=1, le=1_000_000)]
"""As many as the seeds between collection and exploration."""
Length = Annotated[int, Meta(ge=1, le=4_000_000)]
"""Tokens of one text, entries of a vocabulary, width of a layer."""
Few = Annotated[int, Meta(ge=1, le=10_000)]
"""What multiplies the work: samples, beams, layers, episodes at once."""
Rate = Annotated[float, Meta(gt=0)]
LearningRate = Annotated[float, Meta(gt=0, le=1)]
Minutes = Annotated[float, Meta(ge=0)]
Seed = Annotated[int, Meta(ge=0, lt=2**62)]
FolderName = Annotated[str, Meta(pattern=r"^[\w-][\w.-]*$", max_length=100)]
DeviceName = Annotated[str, Meta(pattern=r"^(cpu|cuda(:\d+)?)$")]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file: unknown keys and wrong types are refused."""


class EnvironmentSection(_Section, frozen=True, kw_only=True):
    """One environment to learn.

    Attributes:
        name: A registered environment name.
        levels: Levels to play in turn; empty takes the environment's own mix.
        test_levels: Those of the test tasks; empty takes `levels`.
        train_tasks: Expert trajectories to collect (seeds from 0 on).
        dev_tasks: Tasks of the development split on which choices are made.
        test_tasks: Tasks of the test split; those whose initial state was seen in training are passed over.
        weight: How often its trajectories are used in an epoch of behaviour cloning.
        tree_weight: Its share of the explored trees, beside those of the others.
    """

    name: str
    levels: tuple[str, ...] = ()
    test_levels: tuple[str, ...] = ()
    train_tasks: Tasks = 1_000
    dev_tasks: Tasks = 50
    test_tasks: Tasks = 300
    weight: Rate = 1.0
    tree_weight: Rate = 1.0


class CollectSection(_Section, frozen=True, kw_only=True):
    """Expert trajectories.

    Attributes:
        noise: Probability that a random valid action is played in the expert's place; such turns are not trained on.
        processes: Worker processes.
        chunk: Tasks in one chunk file.
        held_out: Share of trajectories kept for the validation loss.
    """

    noise: Share = 0.1
    processes: Few = 2
    chunk: Positive = 250
    held_out: Share = 0.02


class TokenizerSection(_Section, frozen=True, kw_only=True):
    """The byte-level BPE tokenizer.

    Attributes:
        vocabulary: Entries at most, special tokens included.
        texts: Conversations it is trained on.
        phrases: Fixed phrases that become one token each, beside the vocabulary, at most.
    """

    vocabulary: Length = 1_500
    texts: Positive = 3_000
    phrases: Count = 0


class ModelSection(_Section, frozen=True, kw_only=True):
    """Shape of a Llama-form model trained from scratch.

    Attributes:
        layers, width, heads, key_value_heads, feed_forward: The usual sizes.
        context: Tokens of the longest conversation.
    """

    layers: Few = 6
    width: Length = 256
    heads: Few = 4
    key_value_heads: Few = 2
    feed_forward: Length = 704
    context: Length = 2_048


class SftSection(_Section, frozen=True, kw_only=True):
    """Behaviour cloning on the expert's turns.

    Attributes:
        init_from: A model folder or hub name to start from; empty trains from scratch.
        prompt: Which instruction the model is trained with and will be given.
        learning_rate: Peak of the cosine (paper: 2e-5 for an 8B model).
        weight_decay: Of matrices, not of norms.
        warmup: Share of the budget in which the rate rises.
        clip: Largest norm of the gradient.
        optimiser: `adamw`, or `muon` for the matrices of the layers and AdamW for the rest.
        tokens_per_step: Tokens of one optimiser step.
        max_tokens: Budget in tokens; 0 for none.
        max_minutes: Budget in minutes of training; 0 for none. The schedule follows whichever budget is nearer.
        max_epochs: Passes over the data at most; 0 for no limit.
        bf16: Compute in bfloat16 (weights stay float32).
        synthetic_share: Share of copy and look-up sequences at the beginning.
        synthetic_until: Share of the budget after which no such sequence is drawn (fading linearly until there).
        reading: Weight at the beginning of the loss on the environment's own words, which the expert's have weight 1:
            observations repeat names over and over, and predicting them teaches copying.
        reading_until: Share of the budget after which only the expert's turns are learnt (fading linearly until there).
        probe_tokens: Tokens between two dev probes; 0 for none.
        probe_tasks: Dev tasks of each environment in a probe.
        policy_outcome: Keep as policy the first probed model whose greedy dev outcome is at least this in every
            environment, and train on for the reward model, which then starts from what the policy does not know yet;
            0 takes the end of training for both.
        checkpoint_minutes: Minutes between two checkpoints.
        processes: Processes of this machine that train together, a share of the threads each.
    """

    init_from: str = ""
    prompt: Literal["short", "full"] = "short"
    learning_rate: LearningRate = 1e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 0.05
    warmup: Share = 0.03
    clip: Rate = 1.0
    optimiser: Literal["adamw", "muon"] = "adamw"
    tokens_per_step: Positive = 2_000
    max_tokens: Count = 0
    max_minutes: Minutes = 0.0
    max_epochs: Annotated[float, Meta(ge=0)] = 0.0
    bf16: bool = True
    synthetic_share: Share = 0.5
    synthetic_until: Share = 0.1
    reading: Share = 0.0
    reading_until: Share = 0.5
    probe_tokens: Count = 1_000_000
    probe_tasks: Positive = 16
    policy_outcome: Share = 0.0
    checkpoint_minutes: Rate = 3.0
    processes: Few = 1


class ExploreSection(_Section, frozen=True, kw_only=True):
    """Tree search with the cloned policy on other training tasks (seeds from 1,000,000 on).

    Attributes:
        trees: Trees to grow over all environments; 0 for as many as fit in `max_minutes`.
        max_minutes: Budget in minutes; 0 for none.
        iterations: MCTS iterations for each tree (paper: at most 40).
        simulations: Rollouts for each new node (paper: 1).
        branching: Actions sampled at each expansion.
        exploration: c of UCB.
        depth: Deepest node that is expanded; 0 for no limit.
        discount: Factor for each step of a return.
        share_states: Nodes of equal environment states share statistics.
        temperature: Of sampling.
        max_tokens: Tokens of a reply.
        parallel: Trees grown at once by one process.
        chunk: Trees in one run file.
        processes: Worker processes.
        dev_samples: Trajectories sampled on each dev task, for choosing the reward model.
        dev_sibling_states: States of dev tasks at which siblings are rolled out, for choosing the reward model.
        dev_sibling_rollouts: Fresh rollouts of each of them.
    """

    trees: Count = 0
    max_minutes: Minutes = 0.0
    iterations: Few = 30
    simulations: Few = 1
    branching: Few = 5
    exploration: Rate = 0.5
    depth: Count = 0
    discount: Annotated[float, Meta(gt=0, le=1)] = 1.0
    share_states: bool = False
    temperature: Rate = 0.7
    max_tokens: Length = 64
    parallel: Few = 16
    chunk: Positive = 16
    processes: Few = 1
    dev_samples: Annotated[int, Meta(ge=0, le=10_000)] = 6
    dev_sibling_states: Count = 40
    dev_sibling_rollouts: Few = 8


class LabelSection(_Section, frozen=True, kw_only=True):
    """Reward targets from explored trees.

    Attributes:
        variant: `visits` is the paper's filter (N ≥ `min_visits`); `all` takes every acted node, rollouts included.
        min_visits: λ of the paper.
        max_weight_visits: Visits beyond which a label's weight, sqrt(visits), no longer grows (`all` only).
        discount: Factor for each step between a node and the end of the episode that valued it.
        merge_states: Nodes of equal environment state and depth share their returns (arXiv 2603.18859).
        contrasts: Collected tasks that the policy plays while each action it would take is judged by the expert; 0
            for none.
        contrast_expert: Share of these in which the expert plays, not the policy.
        contrast_samples, contrast_temperature, contrast_tokens: Of the replies at each step.
        expert_share: Share of a target that is what the expert makes of the state, the rest being the mean return.
        expert_discount: Factor for each step the expert needs, in contrasts and in that share.
        chunk: Tasks in one file of contrasts; they are played at once.
        processes: Worker processes that make contrasts.
    """

    variant: Literal["all", "visits"] = "all"
    min_visits: Positive = 3
    max_weight_visits: Positive = 9
    discount: Annotated[float, Meta(gt=0, le=1)] = 1.0
    merge_states: bool = False
    contrasts: Count = 0
    contrast_expert: Share = 0.0
    contrast_samples: Few = 5
    contrast_temperature: Rate = 0.8
    contrast_tokens: Length = 64
    expert_share: Share = 0.0
    expert_discount: Annotated[float, Meta(gt=0, le=1)] = 0.95
    chunk: Positive = 192
    processes: Few = 1


class FitSection(_Section, frozen=True, kw_only=True):
    """The reward model: explicit, one linear value head on the last token, or implicit; mean squared error.

    Attributes:
        kind: `implicit` fits a language model: β times how much likelier than the model it began as it finds the
            replies of a trajectory, summed over its steps, is to be the outcome (arXiv 2412.01981, 2502.18407).
        beta: β of that.
        targets: What an implicit model is fitted to: outcomes at the `ends` of trajectories, or the labels of `all`
            states.
        aggregates: What becomes of the steps of a path when an implicit model plays, of which dev chooses one (the
            first where there is no dev).
        prompt: Which instruction it is given (the paper's has a short one of its own).
        learning_rate: Peak of the cosine (paper: 1e-5 for an 8B model).
        head_rate: Factor of the head's learning rate.
        weight_decay, warmup, clip, optimiser, bf16, checkpoint_minutes, processes: As in behaviour cloning.
        tokens_per_step: Packed tokens of one step.
        tree_tokens: Larger trees are cut into sub-trees of about this many tokens, which repeat their trunk.
        epochs: Passes over the labels at most.
        max_minutes: Budget in minutes; 0 for none.
        contrast_share: Share of the steps in which contrasts are learnt, in turn with the labels.
        ranking: Weight of the sibling ranking loss; 0 for none.
        ranking_difference: Smallest difference of the targets of two siblings that are to be ranked.
        every_token: Weight of the error at every token of the judged reply, beside that at its end (Cobbe et al.,
            arXiv 2110.14168); 0 for none.
        language: Weight of the language-model loss of the best of siblings among the contrasts, which keeps what the
            model knew (Yang et al., arXiv 2406.10216); 0 for none.
        likelihoods: Weights of the reply's likelihood in the reward, of which dev chooses one (the first where there
            is no dev); none: the value alone.
        likelihood_for: Whether dev chooses one of them for all environments, or one for `each`.
        likelihood_by: Whose likelihood that is: of the `reward` model itself, or of the `backbone` it began as, which
            is then stored beside it and read as well.
        evaluations: How often the model is measured on dev; the best one is kept.
        require_better_than_chance: End with exit code 5 where the kept model orders dev states worse than chance.
    """

    kind: Literal["explicit", "implicit"] = "explicit"
    beta: Rate = 0.05
    targets: Literal["ends", "all"] = "ends"
    aggregates: Annotated[tuple[Aggregate, ...], Meta(min_length=1)] = ("sum",)
    prompt: Literal["short", "full"] = "short"
    learning_rate: LearningRate = 3e-4
    head_rate: Rate = 3.0
    weight_decay: Annotated[float, Meta(ge=0)] = 0.05
    warmup: Share = 0.05
    clip: Rate = 1.0
    optimiser: Literal["adamw", "muon"] = "adamw"
    bf16: bool = True
    tokens_per_step: Positive = 5_000
    tree_tokens: Length = 1_500
    epochs: Rate = 3.0
    max_minutes: Minutes = 0.0
    contrast_share: Share = 0.0
    ranking: Annotated[float, Meta(ge=0)] = 0.0
    ranking_difference: Share = 0.1
    every_token: Annotated[float, Meta(ge=0)] = 0.0
    language: Annotated[float, Meta(ge=0)] = 0.0
    likelihoods: tuple[Annotated[float, Meta(ge=0)], ...] = ()
    likelihood_for: Literal["all", "each"] = "all"
    likelihood_by: Literal["reward", "backbone"] = "reward"
    evaluations: Few = 8
    require_better_than_chance: bool = False
    checkpoint_minutes: Rate = 3.0
    processes: Few = 1


class EvaluateSection(_Section, frozen=True, kw_only=True):
    """Results on test tasks.

    Attributes:
        methods: Search algorithms by name (`agentrm-tui run --help` lists them), and `single`, `beam-random` and
            `best-of-n-at-cost`, which needs `best-of-n` and `beam`.
        searches: Settings of algorithms by name, beside `n`, `beam_width` and `beam_samples`.
        n: Trajectories of Best-of-N.
        beam_width, beam_samples: W1 and W2.
        temperature: Of sampling.
        max_tokens: Tokens of a reply.
        parallel: Episodes at once in one process.
        chunk: Tasks in one run file.
        processes: Worker processes.
        max_n_at_cost: Largest N of Best-of-N at the beam's cost.
        draws: Bootstrap draws.
        sibling_states: States at which siblings are rolled out.
        sibling_samples: Actions sampled at each of these states.
        sibling_rollouts: Fresh rollouts of each sibling (at least 8 for a usable mean).
        sibling_difference: Smallest difference of mean outcomes that makes a pair.
    """

    methods: tuple[str, ...] = (
        "greedy",
        "single",
        "best-of-n",
        "beam",
        "beam-random",
        "best-of-n-at-cost",
    )
    searches: dict[str, dict[str, Any]] = {}
    n: Few = 5
    beam_width: Few = 5
    beam_samples: Few = 5
    temperature: Rate = 0.7
    max_tokens: Length = 64
    parallel: Few = 32
    chunk: Positive = 100
    processes: Few = 1
    max_n_at_cost: Few = 50
    draws: Positive = 4_000
    sibling_states: Count = 300
    sibling_samples: Few = 8
    sibling_rollouts: Few = 8
    sibling_difference: Share = 0.1


class ExportSection(_Section, frozen=True, kw_only=True):
    """Files for llama.cpp.

    Attributes:
        gguf: Write policy and reward model as GGUF and check them against the safetensors.
    """

    gguf: bool = True


class Config(_Section, frozen=True, kw_only=True):
    """A whole pipeline.

    Attributes:
        name: The models' name, and the default folder `runs-out/NAME`.
        seed: Of everything random.
        threads: CPU threads of the models.
        device: `cpu`, `cuda` or `cuda:N`.
        environments: What is learnt, one entry for each environment.
    """

    name: FolderName
    seed: Seed = 0
    threads: Few = 2
    device: DeviceName = "cpu"
    environments: Annotated[tuple[EnvironmentSection, ...], Meta(min_length=1)]
    collect: CollectSection = CollectSection()
    tokenizer: TokenizerSection = TokenizerSection()
    model: ModelSection = ModelSection()
    sft: SftSection = SftSection()
    explore: ExploreSection = ExploreSection()
    label: LabelSection = LabelSection()
    fit: FitSection = FitSection()
    evaluate: EvaluateSection = EvaluateSection()
    export: ExportSection = ExportSection()

    @property
    def environment_names(self) -> tuple[str, ...]:
        """What is learnt, in the order of the file."""
        return tuple(environment.name for environment in self.environments)
