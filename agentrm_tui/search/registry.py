"""The algorithms: one line each. Flags, launcher, help, evaluation methods and run files follow from it."""

from __future__ import annotations

from typing import TypeAlias, get_args

from agentrm_tui.search.adaptive import Adaptive
from agentrm_tui.search.algorithm import Algorithm, name_of
from agentrm_tui.search.beam import Beam
from agentrm_tui.search.best_of_n import BestOfN
from agentrm_tui.search.greedy import Greedy
from agentrm_tui.search.mcts import MCTS
from agentrm_tui.search.siblings import Siblings
from agentrm_tui.search.walk import Walk

SearchSettings: TypeAlias = Greedy | BestOfN | Adaptive | Beam | MCTS | Walk | Siblings
"""Settings of any algorithm, told apart by `algorithm` in files."""

ALGORITHMS: dict[str, type[Algorithm]] = {name_of(kind): kind for kind in get_args(SearchSettings)}
