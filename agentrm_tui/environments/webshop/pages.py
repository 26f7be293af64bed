"""The pages of a shop as an immutable state: what they say, what can be clicked there, and where a click leads."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

from agentrm_models.replies import ACTION_LIMIT
from agentrm_tui.environments.base import Task
from agentrm_tui.environments.webshop.catalogue import Choices, Product
from agentrm_tui.environments.webshop.reward import Goal, reward
from agentrm_tui.environments.webshop.shops import Shop, query_words, search, shop

Place: TypeAlias = Literal["search", "results", "item", "description", "features", "reviews", "attributes", "bought"]

BACK = "back to search"
NEXT = "next >"
PREVIOUS = "< prev"
BUY = "buy now"
SUB_PAGES: tuple[Place, ...] = ("description", "features", "reviews", "attributes")
CHECK = "check valid actions"
"""An action that lists the others; it counts as a step and is not listed itself."""

_ACTION = re.compile(r"\s*(search|click)\s*\[(.*)\]\s*", re.IGNORECASE | re.DOTALL)
_CUT = " [SEP] "


class Moment(NamedTuple):
    """An episode's state. Immutable: a snapshot is the state itself.

    Attributes:
        results: Products (by index) of the last search, best first.
        number: Page of the results, from 1.
        opened: The product (by index) that is open; -1 where none is.
        chosen: Options chosen for it, by name.
        seen: Products (by index) that were opened so far.
        invalid: Invalid actions so far.
        score: What was bought is worth; 0 before.
    """

    task: Task
    goal: Goal
    place: Place = "search"
    results: tuple[int, ...] = ()
    number: int = 1
    opened: int = -1
    chosen: Choices = ()
    seen: tuple[int, ...] = ()
    steps: int = 0
    invalid: int = 0
    score: float = 0.0
    done: bool = False

    @property
    def shop(self) -> Shop:
        """The shop of the task's level."""
        return shop(self.task.level)

    @property
    def product(self) -> Product:
        """The product that is open."""
        return self.shop.products[self.opened]

    @property
    def left(self) -> int:
        """Steps left."""
        return self.task.step_limit - self.steps

    @property
    def pages(self) -> int:
        """Pages of the results; 1 where nothing was found."""
        return max(1, -(-len(self.results) // self.shop.level.page))

    def on_page(self, number: int) -> tuple[int, ...]:
        """The results (by index) on a page."""
        size = self.shop.level.page
        return self.results[(number - 1) * size : number * size]


class Turn(NamedTuple):
    """What an action leads to: the next state (steps not yet counted), what is seen, and whether it was possible."""

    moment: Moment
    text: str
    valid: bool


def act(moment: Moment, action: str) -> Turn:
    """Follow an action. Case and blanks at the ends do not matter."""
    if " ".join(action[:60].lower().split()) == CHECK:
        return Turn(moment, f"Valid actions: {', '.join(actions(moment))}", True)
    match = _ACTION.fullmatch(action) if len(action) <= ACTION_LIMIT else None
    if match is not None:
        wanted = " ".join(match.group(2).lower().split())
        after = _search(moment, wanted) if match.group(1).lower() == "search" else click(moment, wanted)
        if after is not None:
            return Turn(after, _tell(moment, after, wanted), True)
    return _refuse(moment)


def click(moment: Moment, name: str) -> Moment | None:
    """The state after clicking something, by its name in lower case; nothing where it is not on the page."""
    if name not in clickables(moment):
        return None
    match name:
        case "back to search":
            return moment._replace(place="search", results=(), number=1, opened=-1, chosen=())
        case "next >":
            return moment._replace(number=moment.number + 1)
        case "< prev":
            return _previous(moment)
        case "buy now":
            score = reward(moment.product, moment.chosen, moment.goal)
            return moment._replace(place="bought", score=score, done=True)
        case "description" | "features" | "reviews" | "attributes":
            return moment._replace(place=name)
    if moment.place == "results":
        opened = moment.shop.by_asin[name.upper()]
        return moment._replace(place="item", opened=opened, chosen=(), seen=(*moment.seen, opened))
    option = next(option for option, values in moment.product.options if name in values)
    # Kept in the product's own order, so that the order of clicks makes no new state.
    chosen = {**dict(moment.chosen), option: name}
    return moment._replace(chosen=tuple((key, chosen[key]) for key, _ in moment.product.options if key in chosen))


def clickables(moment: Moment) -> tuple[str, ...]:
    """What can be clicked on the page, in its order and in lower case."""
    match moment.place:
        case "search" | "bought":
            return ()
        case "results":
            ways = [BACK]
            ways += [PREVIOUS] if moment.number > 1 else []
            ways += [NEXT] if moment.number < moment.pages else []
            products = moment.shop.products
            return (*ways, *(products[index].asin.lower() for index in moment.on_page(moment.number)))
        case "item":
            values = (value for _, values in moment.product.options for value in values)
            return (BACK, PREVIOUS, *values, *SUB_PAGES, BUY)
    return BACK, PREVIOUS


def suggestions(goal: Goal) -> tuple[str, ...]:
    """Queries made of words of the instruction, the fullest first."""
    attributes = " ".join(goal.attributes)
    options = " ".join(value for _, value in goal.options)
    kind = goal.target.kind
    queries = (f"{attributes} {kind} {options}", f"{attributes} {kind}", f"{kind} {options}", kind)
    return tuple(dict.fromkeys(queries))


def actions(moment: Moment) -> tuple[str, ...]:
    """Everything that can be clicked, or some queries where there is a search bar."""
    if moment.place == "search":
        return tuple(f"search[{query}]" for query in suggestions(moment.goal))
    return tuple(f"click[{name}]" for name in clickables(moment))


def render(moment: Moment) -> str:
    """The page as text, its parts set apart by `[SEP]` as in the original; the instruction is not repeated."""
    match moment.place:
        case "search":
            return _join("WebShop", "Search")
        case "bought":
            return "Thank you for shopping with us!"
        case "results":
            return _join(*_result_parts(moment))
        case "item":
            return _join("Back to Search", "< Prev", *_item_parts(moment.product))
    return _join("Back to Search", "< Prev", *_sub_page_parts(moment.product, moment.place))


def _join(*parts: str) -> str:
    return _CUT.join(parts)


def _result_parts(moment: Moment) -> list[str]:
    parts = ["Back to Search", f"Page {moment.number} (Total results: {len(moment.results)})"]
    parts += ["< Prev"] if moment.number > 1 else []
    parts += ["Next >"] if moment.number < moment.pages else []
    for index in moment.on_page(moment.number):
        product = moment.shop.products[index]
        parts += [product.asin, product.title, product.price]
    return parts


def _item_parts(product: Product) -> list[str]:
    parts = [part for name, values in product.options for part in (name, *values)]
    parts += [product.title, f"Price: {product.price}", f"Rating: {product.rating / 10:.1f}"]
    return [*parts, *(name.title() for name in SUB_PAGES), "Buy Now"]


def _sub_page_parts(product: Product, place: Place) -> tuple[str, ...]:
    match place:
        case "description":
            return (product.description,)
        case "features":
            return product.features
        case "reviews":
            return product.reviews
    return product.attributes


def _search(moment: Moment, query: str) -> Moment | None:
    words = query_words(query)
    if moment.place != "search" or not query:
        return None
    return moment._replace(place="results", results=search(moment.task.level, words), number=1)


def _previous(moment: Moment) -> Moment:
    if moment.place == "results":
        return moment._replace(number=moment.number - 1)
    if moment.place == "item":
        return moment._replace(place="results", opened=-1, chosen=())
    return moment._replace(place="item")


def _tell(before: Moment, after: Moment, wanted: str) -> str:
    if before.place == after.place == "item":
        return f"You have clicked {wanted}."
    return render(after)


def _refuse(moment: Moment) -> Turn:
    """Count an invalid action and tell what is possible instead."""
    limit = moment.shop.level.invalid_limit
    after = moment._replace(invalid=moment.invalid + 1, done=0 < limit <= moment.invalid + 1)
    what = f"Invalid action ({after.invalid} of {limit})!" if limit else "Invalid action!"
    if after.done:
        return Turn(after, f"{what} The episode ends.", False)
    if moment.place == "search":
        return Turn(after, f"{what} You can only search[words] here.", False)
    return Turn(after, f"{what} You can click: {', '.join(clickables(moment))}", False)
