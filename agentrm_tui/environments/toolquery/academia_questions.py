"""Questions about papers and authors, each a small program of calls that ends in its answer."""

from __future__ import annotations

from random import Random
from typing import Any

from agentrm_tui.environments.toolquery.academia import AcademiaTools, Archive, collaborators
from agentrm_tui.environments.toolquery.names import ORGANISATIONS, VENUES
from agentrm_tui.environments.tools import Draft, Plan
from agentrm_tui.environments.tools.answers import Answer

YES_NO = ("yes", "no")


def load_papers(plan: Plan[Archive]) -> None:
    """Load the graph of papers."""
    plan.call("It is about papers: load PaperNet.", "loadPaperNet")


def load_authors(plan: Plan[Archive]) -> None:
    """Load the graph of authors."""
    plan.call("It is about authors: load AuthorNet.", "loadAuthorNet")


def read(plan: Plan[Archive], title: str) -> dict[str, Any]:
    """Ask for a paper's details."""
    told: dict[str, Any] = plan.call(f"Now {title}.", "paperNodeCheck", node=title)
    return told


def any_title(data: Archive, rng: Random) -> str:
    """One of the papers."""
    return rng.choice(data.papers).title


def detail(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """Year, venue, citations or kind of a paper."""
    title = any_title(data, rng)
    key, asked, choices = rng.choice(
        (
            ("year", "In which year did {} appear?", tuple(p.year for p in data.papers)),
            ("venue", "At which venue did {} appear?", VENUES),
            ("n_citation", "How often was {} cited?", tuple(p.citations for p in data.papers)),
            ("doc_type", "Is {} a Conference or a Journal paper?", ("Conference", "Journal")),
        )
    )
    load_papers(plan)
    found = read(plan, title)[key]
    return Draft(asked.format(title), found, f"It is {found}.", choices)


def authors_of(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """Who wrote a paper."""
    title = any_title(data, rng)
    load_papers(plan)
    found = read(plan, title)["authors"]
    others: list[Answer] = [list(paper.authors) for paper in data.papers]
    return Draft(f"Who wrote {title}? Answer with a list.", found, "These are all.", tuple(others))


def organisation(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """Where an author works."""
    name = rng.choice(data.authors).name
    load_authors(plan)
    found = plan.call(f"Now {name}.", "authorNodeCheck", node=name)["org"]
    return Draft(f"Where does {name} work?", found, f"It is {found}.", ORGANISATIONS)


def how_many_cited(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """How many papers a paper cites."""
    title = any_title(data, rng)
    load_papers(plan)
    cited = plan.call(f"Now what {title} cites.", "neighbourCheck", graph="PaperNet", node=title)["neighbours"]
    return Draft(f"How many papers does {title} cite?", len(cited), f"It cites {len(cited)}.", tuple(range(4)))


def how_many_collaborators(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """How many people someone wrote with."""
    name = rng.choice(data.authors).name
    load_authors(plan)
    others = plan.call(f"Now {name}.", "neighbourCheck", graph="AuthorNet", node=name)["neighbours"]
    goal = f"How many different people did {name} write papers with?"
    return Draft(goal, len(others), f"There are {len(others)}.", tuple(range(7)))


def together(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """How many papers two people wrote together."""
    one, other = (author.name for author in rng.sample(data.authors, 2))
    load_authors(plan)
    titles = plan.call("Now what they share.", "authorEdgeCheck", node1=one, node2=other)["papers"]
    goal = f"How many papers did {one} and {other} write together?"
    return Draft(goal, len(titles), f"There are {len(titles)}.", tuple(range(4)))


def cited_or_not(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """Whether a paper cites an earlier one."""
    early, late = sorted(rng.sample(range(len(data.papers)), 2))
    citing, cited = data.papers[late].title, data.papers[early].title
    load_papers(plan)
    told = plan.call("Now the edge between them.", "paperEdgeCheck", node1=citing, node2=cited)
    found = "yes" if told["cited"] == cited else "no"
    thought = "There is such an edge." if found == "yes" else "There is no such edge."
    return Draft(f"Does {citing} cite {cited}? Answer yes or no.", found, thought, YES_NO)


def newer(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """Which of two papers appeared first."""
    one, other = (paper.title for paper in rng.sample(data.papers, 2))
    load_papers(plan)
    years = [read(plan, title)["year"] for title in (one, other)]
    found = one if years[0] < years[1] else other
    thought = f"{min(years)} is before {max(years)}: {found}."
    return Draft(f"Which paper appeared first, {one} or {other}?", found, thought, (one, other))


def same_venue(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """Whether two papers appeared at the same venue."""
    one, other = (paper.title for paper in rng.sample(data.papers, 2))
    load_papers(plan)
    venues = [read(plan, title)["venue"] for title in (one, other)]
    found = "yes" if venues[0] == venues[1] else "no"
    goal = f"Did {one} and {other} appear at the same venue? Answer yes or no."
    return Draft(goal, found, f"{venues[0]} and {venues[1]}: {found}.", YES_NO)


def most_cited_reference(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft | None:
    """The most cited of the papers that a paper cites."""
    title = any_title(data, rng)
    load_papers(plan)
    cited = plan.call(f"I need what {title} cites.", "neighbourCheck", graph="PaperNet", node=title)["neighbours"]
    if len(cited) < 2:
        return None
    counts = {other: read(plan, other)["n_citation"] for other in cited}
    best = max(counts.values())
    if list(counts.values()).count(best) > 1:
        return None
    found = next(other for other, count in counts.items() if count == best)
    goal = f"Which of the papers that {title} cites was cited most often?"
    return Draft(goal, found, f"{best} citations are the most.", tuple(cited))


def first_author_works(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft:
    """Where the first author of a paper works."""
    title = any_title(data, rng)
    load_papers(plan)
    name = read(plan, title)["authors"][0]
    plan.call(f"Now {name}: load AuthorNet.", "loadAuthorNet")
    found = plan.call(f"Now where {name} works.", "authorNodeCheck", node=name)["org"]
    goal = f"Where does the first author of {title} work?"
    return Draft(goal, found, f"{name} works at {found}.", ORGANISATIONS)


def venue_together(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft | None:
    """Year or venue of the one paper that two people wrote together."""
    one, other = (author.name for author in rng.sample(data.authors, 2))
    load_authors(plan)
    titles = plan.call("I need what they share.", "authorEdgeCheck", node1=one, node2=other)["papers"]
    if len(titles) != 1:
        return None
    plan.call("Now that paper: load PaperNet.", "loadPaperNet")
    key, asked = rng.choice((("venue", "At which venue"), ("year", "In which year")))
    found = read(plan, titles[0])[key]
    choices: tuple[Answer, ...] = VENUES if key == "venue" else tuple(paper.year for paper in data.papers)
    goal = f"{asked} did the paper appear that {one} and {other} wrote together?"
    return Draft(goal, found, f"It is {found}.", choices)


def wrote_with_both(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft | None:
    """Who wrote with two people, not counting themselves."""
    one, other = (author.name for author in rng.sample(data.authors, 2))
    load_authors(plan)
    circles = [
        plan.call(f"Now who wrote with {name}.", "neighbourCheck", graph="AuthorNet", node=name)["neighbours"]
        for name in (one, other)
    ]
    common = [name for name in circles[0] if name in circles[1]]
    if len(common) != 1:
        return None
    choices = tuple(name for name in dict.fromkeys((*circles[0], *circles[1])) if name not in (one, other))
    goal = f"Who has written papers both with {one} and with {other}?"
    return Draft(goal, common[0], f"{common[0]} is in both lists.", choices)


def colleague(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft | None:
    """Whether the first two authors of a paper work at the same place."""
    paper = rng.choice(data.papers)
    if len(paper.authors) < 2:
        return None
    load_papers(plan)
    names = read(plan, paper.title)["authors"][:2]
    plan.call("Now the authors: load AuthorNet.", "loadAuthorNet")
    places = [plan.call(f"Now {name}.", "authorNodeCheck", node=name)["org"] for name in names]
    found = "yes" if places[0] == places[1] else "no"
    goal = f"Do the first two authors of {paper.title} work at the same place? Answer yes or no."
    return Draft(goal, found, f"{places[0]} and {places[1]}: {found}.", YES_NO)


def busiest(data: Archive, rng: Random, plan: Plan[Archive]) -> Draft | None:
    """Which of two people wrote with more others."""
    one, other = (author.name for author in rng.sample(data.authors, 2))
    if len(collaborators(data, one)) == len(collaborators(data, other)):
        return None
    load_authors(plan)
    counts = [
        len(plan.call(f"Now {name}.", "neighbourCheck", graph="AuthorNet", node=name)["neighbours"])
        for name in (one, other)
    ]
    found = one if counts[0] > counts[1] else other
    goal = f"Who has written papers with more different people, {one} or {other}?"
    return Draft(goal, found, f"{max(counts)} is more than {min(counts)}: {found}.", (one, other))


class AcademiaServer(AcademiaTools):
    """Research tools with questions of three difficulties: one node, one list or two nodes, both graphs."""

    templates = (
        (detail, authors_of, organisation, how_many_cited),
        (how_many_collaborators, together, cited_or_not, newer, same_venue),
        (most_cited_reference, first_author_works, venue_together, wrote_with_both, colleague, busiest),
    )
