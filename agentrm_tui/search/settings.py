"""Settings of the search algorithms, with the paper's values as defaults."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Algorithm: TypeAlias = Literal["greedy", "best-of-n", "beam", "mcts"]
ALGORITHMS: tuple[Algorithm, ...] = ("greedy", "best-of-n", "beam", "mcts")


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to search.

    Attributes:
        n: Trajectories of Best-of-N (paper: 5).
        aggregate: How the rewards of a trajectory's steps become its value in Best-of-N.
        beam_width: W1, beams kept (paper: 5).
        beam_samples: W2, actions sampled from each beam (paper: 5).
        iterations: MCTS iterations at most (paper: 40).
        simulations: Rollouts for each expanded node (paper: 1).
        branching: k, actions sampled at each expansion of MCTS.
        exploration: c of UCB (paper's worked example: 0.5).
        depth: Deepest node MCTS expands; 0 is no limit but the episode's.
        discount: Factor for each step of a backed-up return.
        leaf: What values a leaf of MCTS: `rollout` reads outcomes (exploring, training tasks only), `reward` does not.
        share_states: MCTS nodes of equal environment state and steps left share their statistics.
    """

    algorithm: Algorithm = "beam"
    n: int = 5
    aggregate: Literal["last", "mean", "min", "sum"] = "last"
    beam_width: int = 5
    beam_samples: int = 5
    iterations: int = 40
    simulations: int = 1
    branching: int = 5
    exploration: float = 0.5
    depth: int = 0
    discount: float = 1.0
    leaf: Literal["rollout", "reward"] = "reward"
    share_states: bool = False
