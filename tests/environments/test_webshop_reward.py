"""The published reward: known answers worked out by hand from the formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_tui.environments.webshop.catalogue import Choices, Product
from agentrm_tui.environments.webshop.reward import (
    Goal,
    best_options,
    fits,
    has_attribute,
    reward,
    similar,
    type_factor,
)

COAT = Product(
    number=0,
    asin="B1000",
    title="Kestro Waterproof Lightweight Rain Jacket with Hood",
    department="Clothing",
    shelf="outerwear",
    kind="rain jacket",
    brand="Kestro",
    detail="with hood",
    attributes=("waterproof", "lightweight", "machine washable", "slim fit"),
    options=(("color", ("black", "navy blue", "red")), ("size", ("small", "large", "x-large"))),
    cents=3_999,
    rating=42,
)
GOAL = Goal(COAT, "", ("waterproof", "slim fit"), (("color", "navy blue"), ("size", "large")), 4_000)
ALL_RIGHT = (("color", "navy blue"), ("size", "large"))


@pytest.mark.parametrize(
    ("product", "chosen", "expected"),
    [
        (COAT, ALL_RIGHT, 5 / 5),
        (COAT, (), 3 / 5),
        (COAT, (("color", "red"), ("size", "large")), 4 / 5),
        (COAT, (("color", "red"), ("size", "x-large")), 3 / 5),
        (COAT._replace(cents=4_000), ALL_RIGHT, 5 / 5),
        (COAT._replace(cents=4_001), ALL_RIGHT, 4 / 5),
        (COAT._replace(attributes=("waterproof", "windproof", "tag free", "soft")), ALL_RIGHT, 4 / 5),
        (
            COAT._replace(kind="hand soap", brand="Vor", detail="for kitchen", shelf="bath", department="B"),
            ALL_RIGHT,
            0.0,
        ),
    ],
)
def test_score_of_a_purchase(product: Product, chosen: Choices, expected: float) -> None:
    assert reward(product, chosen, GOAL) == pytest.approx(expected)


def test_the_type_factor_multiplies_the_rest() -> None:
    # It shares "hood" of kestro, rain, jacket, hood: one noun of four is more than a fifth, so the type is right.
    vest = COAT._replace(kind="fleece vest", brand="Vor", shelf="other", department="other")
    assert type_factor(vest, COAT) == 1.0
    # One noun of five is not more than a fifth, one of eleven is less than a tenth.
    wanted = COAT._replace(detail="with hood pockets")
    assert type_factor(vest, wanted) == 0.5
    assert reward(vest, ALL_RIGHT, GOAL._replace(target=wanted)) == pytest.approx(0.5)
    assert type_factor(vest._replace(shelf="outerwear", department="Clothing"), wanted) == 1.0
    many = COAT._replace(detail="with hood one two three four five six seven")
    assert len(many.nouns) == 11
    assert type_factor(vest, many) == 0.1
    assert reward(vest, ALL_RIGHT, GOAL._replace(target=many)) == pytest.approx(0.1)
    assert type_factor(vest._replace(detail="for hiking"), wanted) == 0.0


def test_similar_means_more_than_85_of_100() -> None:
    # Token-set similarity: shared words against shared words and the rest; a subset of the words counts as equal.
    assert similar("machine washable", "Machine-Washable")
    assert similar("washable", "machine washable")
    assert similar("water resistant", "resistant to water")
    assert similar("moisturizing", "moisturising")  # 2·11/24 = 91.7
    assert not similar("slip resistant", "water resistant")  # 78.3
    assert not similar("gluten free", "dairy free")
    assert not similar("red", "rose")


def test_options_match_sizes_exactly_shades_by_their_colour_and_all_else_fuzzily() -> None:
    assert fits("size", "large", "large")
    assert not fits("size", "x-large", "large")
    assert fits("color", "navy blue", "sky blue")
    assert not fits("color", "navy blue", "grey")
    assert fits("scent", "green tea scent", "green tea")
    assert not fits("flavor", "salted caramel", "salted peanut")


def test_an_attribute_is_also_found_in_the_words_of_the_product() -> None:
    assert has_attribute(COAT, "hood")
    assert has_attribute(COAT, "outerwear range")
    assert has_attribute(COAT, "made with hood")
    assert not has_attribute(COAT, "down filled")


def test_best_options_prefer_the_very_same_value() -> None:
    offered = COAT._replace(options=(("color", ("sky blue", "navy blue")), ("size", ("small",))))
    assert best_options(offered, GOAL) == (("color", "navy blue"),)
    assert best_options(offered._replace(options=(("color", ("sky blue",)),)), GOAL) == (("color", "sky blue"),)


_SUBSETS = st.lists(
    st.sampled_from(("waterproof", "lightweight", "machine washable", "fur lined", "odd")), min_size=1, unique=True
)


@given(attributes=_SUBSETS, chosen=st.booleans(), limit=st.integers(1_000, 9_000))
def test_a_reward_is_a_count_over_all_that_was_asked(attributes: list[str], chosen: bool, limit: int) -> None:
    goal = GOAL._replace(attributes=tuple(attributes), limit_cents=limit)
    hits = sum(attribute in COAT.attributes for attribute in attributes) + 2 * chosen + (limit >= COAT.cents)
    assert reward(COAT, ALL_RIGHT if chosen else (), goal) == pytest.approx(hits / (len(attributes) + 3))
