"""The shop: pages and clicks in the original's form, searches, tasks that do not repeat, and the expert."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_tui.environments.webshop import WebShopEnvironment
from agentrm_tui.environments.webshop.catalogue import make_products
from agentrm_tui.environments.webshop.departments import DEPARTMENTS
from agentrm_tui.environments.webshop.goals import split_of_product, split_of_wish
from agentrm_tui.environments.webshop.pages import Moment, clickables
from agentrm_tui.environments.webshop.reward import fits, reward, similar
from agentrm_tui.environments.webshop.shops import LEVELS, MOST_RESULTS, goal_of, query_words, search, shop


def start(task_id: str) -> WebShopEnvironment:
    environment = WebShopEnvironment()
    environment.reset(environment.task(task_id))
    return environment


def now(environment: WebShopEnvironment) -> Moment:
    return environment.snapshot()


def follow_expert(environment: WebShopEnvironment) -> Iterator[tuple[str, str, str]]:
    done = False
    while not done:
        thought, action = environment.expert()
        result = environment.step(action)
        done = result.done
        yield thought, action, result.text


def open_first(environment: WebShopEnvironment) -> None:
    environment.step(environment.valid_actions()[0])
    index = now(environment).results[0]
    environment.step(f"click[{now(environment).shop.products[index].asin}]")


def test_the_whole_catalogue_is_large_varied_and_the_same_again() -> None:
    products = make_products(len(DEPARTMENTS), LEVELS["full"].each, True)
    assert len(products) >= 5_000
    assert len({product.department for product in products}) >= 8
    assert len({product.asin for product in products}) == len(products)
    assert all(re.fullmatch(r"B0[0-9A-Z]{8}", product.asin) for product in products)
    assert len({product.title for product in products}) > 0.98 * len(products)
    assert make_products(2, 3, True)[5] == make_products(1, 3, True)[5]
    assert products[0].title.startswith(products[0].brand)


def test_small_shops_have_short_identifiers() -> None:
    for name in ("shop-3", "shop-5", "shop-10"):
        products = shop(name).products
        assert len({product.asin for product in products}) == len(products)
        assert all(re.fullmatch(r"B\d{4}", product.asin) for product in products)


def test_names_on_an_item_page_mean_one_thing() -> None:
    start_state = now(start("full:0"))
    for index, product in enumerate(start_state.shop.products):
        names = clickables(start_state._replace(place="item", opened=index))
        assert len(set(names)) == len(names) == 7 + sum(len(offered) for _, offered in product.options)
        assert all(3 <= len(offered) <= 5 for _, offered in product.options)
        assert product.cents > 0 and 30 <= product.rating < 50


def test_word_lists_hold_nothing_that_the_fuzzy_match_confuses() -> None:
    for department in DEPARTMENTS:
        for name, values in department.options.items():
            for one, other in combinations(values, 2):
                assert not fits(name, one, other), (department.name, one, other)
        for kind in department.kinds:
            assert len(kind.name.split()) <= 3
            for one, other in combinations((*department.attributes, *kind.attributes), 2):
                assert not similar(one, other), (kind.name, one, other)


def test_an_episode_reads_as_in_the_original() -> None:
    environment = WebShopEnvironment()
    task = environment.task("full:11")
    assert environment.reset(task) == "WebShop [SEP] Search"
    assert re.search(r", and price lower than \d+\.00 dollars\.$", task.goal)
    text = environment.step("search[yoga mat]").text
    assert text.startswith("Back to Search [SEP] Page 1 (Total results: 50) [SEP] Next > [SEP] B0")
    assert text.count("B0") == 10 and text.count("$") == 10
    product = now(environment).shop.products[now(environment).results[0]]
    assert f"{product.asin} [SEP] {product.title} [SEP] {product.price}" in text
    item = environment.step(f"click[{product.asin}]").text
    assert item.startswith("Back to Search [SEP] < Prev [SEP] color [SEP] ")
    assert item.endswith("Description [SEP] Features [SEP] Reviews [SEP] Attributes [SEP] Buy Now")
    assert f"{product.title} [SEP] Price: {product.price} [SEP] Rating: {product.rating / 10}" in item
    colour = product.options[0][1][0]
    assert environment.step(f"click[{colour}]").text == f"You have clicked {colour}."
    for name in ("Description", "Features", "Attributes"):
        page = environment.step(f"click[{name}]")
        assert page.valid and page.text.startswith("Back to Search [SEP] < Prev [SEP] ")
        assert environment.step("click[< Prev]").text == item


def test_sub_pages_tell_what_the_title_does_not() -> None:
    environment = start("full:3")
    open_first(environment)
    product = now(environment).product
    snapshot = environment.snapshot()
    told = {}
    for name in ("description", "features", "reviews", "attributes"):
        environment.restore(snapshot)
        told[name] = environment.step(f"click[{name}]").text
    assert all(attribute in told["attributes"] for attribute in product.attributes)
    assert all(attribute.capitalize() in told["features"] for attribute in product.attributes)
    assert product.attributes[2] in told["description"]
    assert product.attributes[2].title() not in product.title
    assert len(product.reviews) == 2 and all(review in told["reviews"] for review in product.reviews)


def test_pages_of_results_turn_forward_and_back() -> None:
    environment = start("shop-10:5")
    environment.step("search[white]")
    results = now(environment).results
    assert len(results) == MOST_RESULTS
    seen = list(now(environment).on_page(1))
    assert "click[< prev]" not in environment.valid_actions()
    for number in range(2, 6):
        text = environment.step("click[Next >]").text
        assert f"Page {number} (Total results: 50)" in text
        seen += now(environment).on_page(number)
    assert tuple(seen) == results
    assert "click[next >]" not in environment.valid_actions()
    assert not environment.step("click[next >]").valid
    assert "Page 4 " in environment.step("click[< prev]").text
    index = now(environment).on_page(4)[0]
    environment.step(f"click[{now(environment).shop.products[index].asin.lower()}]")
    assert "Page 4 " in environment.step("click[< prev]").text
    assert environment.step("click[back to search]").text == "WebShop [SEP] Search"


def test_a_search_that_finds_nothing_shows_an_empty_page() -> None:
    environment = start("shop-3:1")
    result = environment.step("search[xylophone zeppelin]")
    assert result.valid and result.text == "Back to Search [SEP] Page 1 (Total results: 0)"
    assert environment.valid_actions() == ("click[back to search]",)
    assert environment.expert() == ("Nothing here fits, I search again.", "click[back to search]")


def test_options_are_kept_through_sub_pages_replaced_by_others_and_lost_with_the_item() -> None:
    environment = start("shop-5:2")
    open_first(environment)
    (one, values), (other, values_beside) = now(environment).product.options[:2]
    for value in (values_beside[0], values[0], values[1]):
        environment.step(f"click[{value}]")
    environment.step("click[features]")
    environment.step("click[< prev]")
    assert now(environment).chosen == ((one, values[1]), (other, values_beside[0]))
    environment.step("click[< prev]")
    assert now(environment).chosen == () and now(environment).place == "results"


def test_buying_ends_the_episode_with_the_reward_and_nothing_counts_before() -> None:
    environment = start("shop-3:8")
    open_first(environment)
    option = environment.valid_actions()[2]
    result = environment.step(option)
    assert result.outcome == 0.0 and not result.done
    moment = now(environment)
    result = environment.step("click[Buy Now]")
    assert result.done and result.valid
    assert result.outcome == reward(moment.product, moment.chosen, moment.goal)
    assert result.text == "Thank you for shopping with us!"
    with pytest.raises(RuntimeError):
        environment.step("click[Buy Now]")


def test_an_unfinished_purchase_is_worth_nothing() -> None:
    environment = start("full:4")
    results = [environment.step("search[polo shirt]"), *(environment.step("click[next]") for _ in range(9))]
    assert results[-1].done and results[-1].outcome == 0.0
    assert not any(result.done for result in results[:-1])
    assert results[-1].text.endswith("The step limit is reached.")


def test_small_shops_end_at_the_third_invalid_action() -> None:
    environment = start("shop-3:4")
    told = [environment.step(action) for action in ("buy", "click[buy now]", "search")]
    assert [result.done for result in told] == [False, False, True]
    assert told[0].text == "Invalid action (1 of 3)! You can only search[words] here."
    assert told[2].text == "Invalid action (3 of 3)! The episode ends." and told[2].outcome == 0.0


def test_the_list_of_actions_can_be_asked_for_and_costs_a_step() -> None:
    environment = start("shop-3:4")
    environment.step("search[coat]")
    expected = f"Valid actions: {', '.join(environment.valid_actions())}"
    result = environment.step("Check valid actions")
    assert result.valid and result.text == expected
    assert now(environment).steps == 2


def test_search_ranks_what_has_the_words() -> None:
    products = shop("full").products
    same_kind: list[bool] = []
    for index in range(7, len(products), 601):
        product = products[index]
        assert search("full", query_words(product.title))[0] == index
        found = search("full", query_words(f"{' '.join(product.shown)} {product.kind}"))[:3]
        same_kind += [products[other].kind == product.kind for other in found]
    assert sum(same_kind) >= 0.9 * len(same_kind)
    assert search("full", query_words("the of and")) == ()
    assert query_words("The Rain-Jackets, glass") == ("rain", "jacket", "glass")


def test_searches_that_find_the_same_lead_to_the_same_state() -> None:
    environment = start("shop-3:6")
    start_state = environment.snapshot()
    environment.step("search[a rain jacket]")
    key = environment.state_key()
    environment.restore(start_state)
    environment.step("  SEARCH[Rain jackets] ")
    assert environment.state_key() == key
    environment.restore(start_state)
    environment.step("search[winter coat]")
    assert environment.state_key() != key


@pytest.mark.parametrize("level", LEVELS)
def test_the_target_scores_fully_and_the_instruction_names_all_that_is_asked(level: str) -> None:
    spec = LEVELS[level]
    for seed in (*range(150), *range(9_000_000, 9_000_150)):
        goal = goal_of(level, seed)
        assert reward(goal.target, goal.options, goal) == 1.0
        asked = (
            *goal.attributes,
            *(value for _, value in goal.options),
            goal.target.kind,
            f"{goal.limit_cents // 100}.00",
        )
        assert all(words in goal.text for words in asked)
        assert spec.attributes[0] <= len(goal.attributes) <= spec.attributes[1]
        assert 1 <= len(goal.options) <= spec.options
        assert goal.target.cents < goal.limit_cents
        assert spec.hidden or set(goal.attributes) <= set(goal.target.shown)


@pytest.mark.parametrize("level", LEVELS)
def test_no_split_asks_for_what_another_one_asks_for(level: str) -> None:
    wishes: dict[str, set[object]] = {}
    for split, first in (("train", 0), ("dev", 5_000_000), ("test", 9_000_000)):
        goals = [goal_of(level, seed) for seed in range(first, first + 400)]
        assert {split_of_product(goal.target) for goal in goals} == {split}
        assert {split_of_wish(goal.target.kind, goal.attributes, goal.options) for goal in goals} == {split}
        wishes[split] = {(goal.target.kind, frozenset(goal.attributes), frozenset(goal.options)) for goal in goals}
        assert len({goal.text for goal in goals}) > 0.95 * len(goals)
    assert not wishes["train"] & wishes["test"] and not wishes["train"] & wishes["dev"]


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_buys_what_is_wanted_in_time(level: str) -> None:
    environment = WebShopEnvironment()
    outcomes, words = [], []
    for task in (environment.task(f"{level}:{seed}") for seed in (*range(20), *range(9_000_000, 9_000_020))):
        words.append(len(environment.reset(task).split()))
        words += [len(text.split()) for _, _, text in follow_expert(environment)]
        outcomes.append(now(environment).score)
    assert sum(outcomes) / len(outcomes) >= 0.99
    assert sum(words) / len(words) <= 60


def test_the_expert_opens_what_looks_right_and_goes_back_when_an_option_is_missing() -> None:
    environment = WebShopEnvironment()
    thoughts = []
    for seed in range(80):
        environment.reset(environment.task(f"shop-10:{seed}"))
        before = now(environment)
        for thought, action, text in follow_expert(environment):
            thoughts.append(thought)
            if thought.startswith("There is no "):
                absent = thought.removeprefix("There is no ").partition(" here")[0]
                assert absent in [value for _, value in before.goal.options]
                assert absent not in [value for _, values in before.product.options for value in values]
            if thought.endswith("has to be " + action[6:-1] + "."):
                assert text == f"You have clicked {action[6:-1]}."
            before = now(environment)
    assert any(thought.startswith("There is no ") for thought in thoughts)


def test_the_expert_is_silent_when_nothing_can_be_bought_any_more() -> None:
    environment = start("full:9")
    environment.step("search[gel pen]")
    for _ in range(8):
        environment.step("click[nothing]")
    assert environment.expert() == ("", "")


def test_the_expert_buys_in_the_last_step_what_it_has() -> None:
    environment = start("full:9")
    while now(environment).place != "item":
        environment.step(environment.expert()[1])
    while now(environment).left > 1:
        environment.step("click[nothing]")
    assert environment.expert()[1] == "click[buy now]"
    assert environment.step("click[buy now]").outcome > 0.0


def test_the_panel_marks_what_can_score_fully() -> None:
    environment = start("shop-3:12")
    environment.step(environment.expert()[1])
    rows = environment.picture().rows
    moment = now(environment)
    full = [
        index
        for index in moment.on_page(1)
        if any(
            reward(moment.shop.products[index], tuple(zip(names, values, strict=True)), moment.goal) == 1.0
            for names, values in _choices(moment.shop.products[index].options)
        )
    ]
    marked = [row for row in rows if any(cell.role == "goal" for cell in row)]
    assert len(marked) == len(full) > 0


def _choices(options: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[tuple[list[str], list[str]]]:
    names = [name for name, _ in options]
    for one in options[0][1]:
        for other in options[1][1]:
            yield names, [one, other]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**7), level=st.sampled_from(sorted(LEVELS)), walk=st.integers(0, 6))
def test_after_any_walk_the_expert_does_as_well_as_the_steps_left_allow(seed: int, level: str, walk: int) -> None:
    environment = start(f"{level}:{seed}")
    rng = random.Random(seed)
    for _ in range(walk):
        action = rng.choice([action for action in environment.valid_actions() if action != "click[buy now]"])
        if environment.step(action).done:
            return
    left = now(environment).left
    outcome = 0.0
    while (action := environment.expert()[1]) and not (result := environment.step(action)).done:
        assert result.valid
    outcome = now(environment).score
    # Nine steps are enough from anywhere to go back, search, open, choose all and buy; five to buy something near.
    assert outcome >= (0.99 if left >= 9 else 0.3 if left >= 5 else 0.0)
