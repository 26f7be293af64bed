"""Perturbed environments: the same worlds in other words, to see whether a policy or reward model learnt the words."""

from agentrm_tui.environments.perturbed.environment import PerturbedEnvironment
from agentrm_tui.environments.perturbed.rules import PERTURBATIONS, make_rule

__all__ = ["PERTURBATIONS", "PerturbedEnvironment", "make_rule"]
