"""The expert: search with the instruction's words, open what fits by its title and price, choose the options, buy.

It knows what every product is worth, so it always finds a way that ends in time. On that way it does what a reader can
follow: it opens the product that looks best, sees only then which options that one comes in, and goes back when the
wanted one is missing, as long as the steps left allow it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from agentrm_tui.environments.webshop.catalogue import Product
from agentrm_tui.environments.webshop.pages import BACK, BUY, NEXT, PREVIOUS, Moment, suggestions
from agentrm_tui.environments.webshop.reward import Goal, best_options, has_attribute, reward
from agentrm_tui.environments.webshop.shops import query_words, search

TO_BUY = 2
"""Steps from a page of results to a purchase without options."""

_SILENT = ("", "")


class Find(NamedTuple):
    """A product worth opening; the least is the best.

    Attributes:
        loss: What is missing from a full score.
        away: How many pages of results away it is.
        unsaid: Wanted attributes that its title does not tell.
        rank: Its place among the results, from 0.
    """

    loss: float
    away: int
    unsaid: int
    rank: int


class _Query(NamedTuple):
    """A query worth trying; the least is the best."""

    loss: float
    order: int
    text: str


def advise(moment: Moment) -> tuple[str, str]:
    """Thought and action; both empty when nothing of worth can be bought in the steps left."""
    match moment.place:
        case "bought":
            return _SILENT
        case "search":
            return _choose_query(moment)
        case "results":
            return _choose_product(moment)
        case "item":
            return _finish_item(moment)
    return ("I have read enough.", f"click[{PREVIOUS}]") if moment.left >= TO_BUY else _SILENT


def best_find(moment: Moment, results: tuple[int, ...], page: int, left: int) -> Find | None:
    """The product worth most among results, when looking at one of their pages with some steps left."""
    size = moment.shop.level.page
    finds = []
    for rank, index in enumerate(results):
        product, away = moment.shop.products[index], abs(rank // size + 1 - page)
        clicks = left - away - TO_BUY
        worth = _worth(product, moment.goal, clicks) if clicks >= 0 else 0.0
        if worth > 0.0:
            finds.append(Find(1.0 - worth, away, _unsaid(product, moment.goal), rank))
    return min(finds, default=None)


@lru_cache(maxsize=4_096)
def _worth(product: Product, goal: Goal, clicks: int) -> float:
    """The most that buying a product can bring with so many options chosen first."""
    return reward(product, best_options(product, goal)[:clicks], goal)


def _unsaid(product: Product, goal: Goal) -> int:
    return sum(attribute not in product.shown for attribute in goal.attributes)


def _best_query(moment: Moment, left: int) -> _Query | None:
    """The first suggestion that leads to the most that can be had with some steps left before searching."""
    queries = []
    for order, text in enumerate(suggestions(moment.goal)):
        find = best_find(moment, search(moment.task.level, query_words(text)), 1, left - 1)
        if find is not None:
            queries.append(_Query(find.loss, order, text))
    return min(queries, default=None)


def _choose_query(moment: Moment) -> tuple[str, str]:
    query = _best_query(moment, moment.left)
    return (f"I search for the {moment.goal.target.kind}.", f"search[{query.text}]") if query else _SILENT


def _choose_product(moment: Moment) -> tuple[str, str]:
    best = best_find(moment, moment.results, moment.number, moment.left)
    if best is None or best.loss > 0.0:
        again = _best_query(moment, moment.left - 1)
        if again is not None and (best is None or again.loss < best.loss):
            return "Nothing here fits, I search again.", f"click[{BACK}]"
    if best is None:
        return _SILENT
    trial = _trial(moment, best)
    if trial is not None or best.away == 0:
        product = moment.shop.products[moment.results[best.rank] if trial is None else trial]
        return _reason(product, moment.goal), f"click[{product.asin.lower()}]"
    if best.rank // moment.shop.level.page + 1 > moment.number:
        return "Nothing else on this page fits, I look further.", f"click[{NEXT}]"
    return "The page before had a better one.", f"click[{PREVIOUS}]"


def _trial(moment: Moment, best: Find) -> int | None:
    """A product (by index) on this page that looks better than the best one and was not opened yet.

    Opening it and going back takes two steps, which must be left over.
    """
    wanted = best_options(moment.shop.products[moment.results[best.rank]], moment.goal)
    if moment.left < 2 + best.away + TO_BUY + len(wanted):
        return None
    first = (moment.number - 1) * moment.shop.level.page
    looks = [
        (_unsaid(product, moment.goal), first + place, index)
        for place, index in enumerate(moment.on_page(moment.number))
        if index not in moment.seen and _looks_right(product := moment.shop.products[index], moment.goal)
    ]
    looks = [look for look in looks if best.away or look[:2] < (best.unsaid, best.rank)]
    return min(looks)[2] if looks else None


def _looks_right(product: Product, goal: Goal) -> bool:
    """All but the options is right."""
    right = product.kind == goal.target.kind and product.cents <= goal.limit_cents
    return right and all(has_attribute(product, attribute) for attribute in goal.attributes)


def _finish_item(moment: Moment) -> tuple[str, str]:
    product, goal = moment.product, moment.goal
    wanted = best_options(product, goal)
    missing = [choice for choice in wanted if choice not in moment.chosen]
    # Options that were chosen before stay chosen, so they take no step.
    in_time = (*(choice for choice in wanted if choice in moment.chosen), *missing[: moment.left - 1])
    loss = 1.0 - max(reward(product, in_time, goal), reward(product, moment.chosen, goal))
    if loss > 0.0:
        better = _leave_for_better(moment, loss)
        if better is not None:
            return better
    if loss >= 1.0:
        return _SILENT
    if missing and moment.left > 1:
        name, value = missing[0]
        return f"The {name} has to be {value}.", f"click[{value}]"
    return "All that can be chosen is right, I buy it.", f"click[{BUY}]"


def _leave_for_better(moment: Moment, loss: float) -> tuple[str, str] | None:
    product, goal = moment.product, moment.goal
    values = [value for _, offered in product.options for value in offered]
    absent = next((value for _, value in goal.options if value not in values), "")
    if absent:
        reason = f"There is no {absent} here"
    else:
        reason = "It costs too much" if product.cents > goal.limit_cents else "This is not what I need"
    back = best_find(moment, moment.results, moment.number, moment.left - 1)
    if back is not None and back.loss < loss:
        return f"{reason}, I go back.", f"click[{PREVIOUS}]"
    again = _best_query(moment, moment.left - 1)
    if again is not None and again.loss < loss:
        return f"{reason}, I search again.", f"click[{BACK}]"
    return None


def _reason(product: Product, goal: Goal) -> str:
    """What the page of results tells in favour of a product."""
    told = [attribute for attribute in goal.attributes if attribute in product.shown]
    what = " ".join((*told, product.kind)) if product.kind == goal.target.kind else "close"
    price = f"{product.price}, below {goal.limit_cents // 100}" if product.cents <= goal.limit_cents else product.price
    return f"{product.asin} is {what} for {price}."
