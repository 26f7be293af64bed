"""The reward at buy: the published formula of WebShop (arXiv 2207.01206, section 3 and appendix).

    (matched attributes + matched options + [price within the limit]) / (attributes + options + 1) × type factor

The type factor is 0 when the titles share no noun, 0.1 when they share fewer than a tenth of the wanted title's nouns,
1 when the kind is the same, two categories are the same or more than a fifth of the nouns, and 0.5 otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.utils import default_process

from agentrm_tui.environments.webshop.catalogue import Choices, Product
from agentrm_tui.environments.webshop.departments import COLORS

FUZZY_MATCH = 85.0
"""Token-set similarity, 0 to 100, above which two phrases are the same."""

_PLAIN_COLORS = tuple(dict.fromkeys(color.split()[-1] for color in COLORS))


class Goal(NamedTuple):
    """What is wanted.

    Attributes:
        target: The hidden product that the instruction was written from.
        text: The instruction.
        attributes: Wanted attributes.
        options: Wanted options.
        limit_cents: The price must not be above this.
    """

    target: Product
    text: str
    attributes: tuple[str, ...]
    options: Choices
    limit_cents: int


def reward(product: Product, chosen: Choices, goal: Goal) -> float:
    """The score, in [0, 1], of buying a product with these options chosen."""
    matched = sum(has_attribute(product, attribute) for attribute in goal.attributes)
    matched += sum(any(fits(*choice, wanted) for choice in chosen) for _, wanted in goal.options)
    matched += product.cents <= goal.limit_cents
    return matched / (len(goal.attributes) + len(goal.options) + 1) * type_factor(product, goal.target)


def has_attribute(product: Product, wanted: str) -> bool:
    """A similar attribute, or the words themselves in title, features or description."""
    if any(similar(attribute, wanted) for attribute in product.attributes):
        return True
    texts = (product.title, " ".join(product.features), product.description)
    return any(wanted in text.lower() for text in texts)


def fits(name: str, value: str, wanted: str) -> bool:
    """Whether a chosen option is the wanted one: sizes exactly, shades by their plain colour, all else fuzzily."""
    if name == "size":
        return value == wanted
    return similar(_plain(value), _plain(wanted))


def similar(one: str, other: str) -> bool:
    """Whether two phrases share (nearly) all words of the shorter one."""
    return one == other or fuzz.token_set_ratio(one, other, processor=default_process) > FUZZY_MATCH


def type_factor(product: Product, target: Product) -> float:
    """1, 0.5, 0.1 or 0: how far the product is the kind of thing that is wanted."""
    nouns = target.nouns
    shared = sum(noun in product.nouns for noun in nouns) / len(nouns)
    if shared == 0.0:
        return 0.0
    if shared < 0.1:
        return 0.1
    same_kind = product.kind == target.kind
    same_categories = sum(category in product.categories for category in target.categories) >= 2
    return 1.0 if same_kind or same_categories or shared > 0.2 else 0.5


def best_options(product: Product, goal: Goal) -> Choices:
    """For each wanted option, the value of this product that fits it, the very same before a similar one."""
    found: dict[str, str] = {}
    for _, wanted in goal.options:
        fitting = [
            (value != wanted, name, value)
            for name, values in product.options
            if name not in found
            for value in values
            if fits(name, value, wanted)
        ]
        if fitting:
            _, name, value = min(fitting)
            found[name] = value
    return tuple(found.items())


def _plain(value: str) -> str:
    return next((color for color in _PLAIN_COLORS if color in value.split()), value)
