"""The algorithms by name."""

from __future__ import annotations

from agentrm_tui.search.beam import beam
from agentrm_tui.search.best_of_n import best_of_n
from agentrm_tui.search.greedy import greedy
from agentrm_tui.search.mcts import exploring_mcts, playing_mcts
from agentrm_tui.search.requests import Search
from agentrm_tui.search.settings import SearchSettings
from agentrm_tui.search.tree import Tree


def make_search(settings: SearchSettings, tree: Tree) -> Search:
    """Start the algorithm that the settings name; it reads `tree` and never writes it."""
    match settings.algorithm:
        case "greedy":
            return greedy(settings, tree)
        case "best-of-n":
            return best_of_n(settings, tree)
        case "beam":
            return beam(settings, tree)
        case "mcts":
            return exploring_mcts(settings, tree) if settings.leaf == "rollout" else playing_mcts(settings, tree)


def needs_reward(settings: SearchSettings) -> bool:
    """Whether the algorithm asks for scores with these settings."""
    match settings.algorithm:
        case "greedy":
            return False
        case "best-of-n":
            return settings.n > 1
        case "beam":
            return True
        case "mcts":
            return settings.leaf == "reward"


def most_samples(settings: SearchSettings) -> int:
    """The most replies that are sampled from one node in one request."""
    match settings.algorithm:
        case "greedy":
            return 1
        case "best-of-n":
            return settings.n
        case "beam":
            return settings.beam_width * settings.beam_samples
        case "mcts":
            return max(settings.branching, settings.simulations if settings.leaf == "rollout" else 1)
