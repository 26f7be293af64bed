"""Research tools over made-up papers and their authors, as two graphs. Tool names as in AgentBoard."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Literal, NamedTuple

from agentrm_tui.environments.toolquery.names import MANNERS, METHODS, ORGANISATIONS, TOPICS, VENUES, people_names
from agentrm_tui.environments.tools import Fact, RefusedError, Result, ToolServer, tool_table
from agentrm_tui.environments.tools.calls import Call
from agentrm_tui.environments.tools.server import Assignment
from agentrm_tui.environments.tools.signatures import quoted


class Paper(NamedTuple):
    """A paper; `cites` are titles of earlier ones."""

    title: str
    authors: tuple[str, ...]
    year: int
    venue: str
    citations: int
    keywords: tuple[str, ...]
    kind: str
    cites: tuple[str, ...]


class Author(NamedTuple):
    """Someone who writes papers."""

    name: str
    organisation: str


class Archive(NamedTuple):
    """Papers and authors, and which graphs have been loaded."""

    papers: tuple[Paper, ...]
    authors: tuple[Author, ...]
    loaded: tuple[str, ...] = ()


def make_archive(difficulty: int, rng: Random) -> Archive:
    """Make up authors and papers, in the order of their years."""
    names = people_names(rng, 4 + difficulty)
    authors = tuple(Author(name, rng.choice(ORGANISATIONS)) for name in names)
    titles = [
        f"{manner} {method} of {topic}"
        for manner, method, topic in zip(
            rng.choices(MANNERS, k=5 + difficulty),
            rng.sample(METHODS, 5 + difficulty),
            rng.sample(TOPICS, 5 + difficulty),
            strict=True,
        )
    ]
    papers: list[Paper] = []
    year = rng.randint(1995, 2005)
    for title in titles:
        year += rng.randint(1, 3)
        earlier = [paper.title for paper in papers]
        papers.append(
            Paper(
                title=title,
                authors=tuple(rng.sample(names, rng.randint(1, 3))),
                year=year,
                venue=rng.choice(VENUES),
                citations=rng.randint(0, 400),
                keywords=tuple(word.lower() for word in title.split() if word != "of"),
                kind=rng.choice(("Conference", "Journal")),
                cites=tuple(rng.sample(earlier, min(len(earlier), rng.randint(1, 3)))),
            )
        )
    return Archive(tuple(papers), authors)


def loadPaperNet(data: Archive) -> Result[Archive]:
    """Load the graph of papers and citations."""
    return _load(data, "PaperNet")


def loadAuthorNet(data: Archive) -> Result[Archive]:
    """Load the graph of authors who wrote together."""
    return _load(data, "AuthorNet")


def neighbourCheck(data: Archive, graph: Literal["PaperNet", "AuthorNet"], node: str) -> Result[Archive]:
    """The papers that a paper cites, or the authors that someone wrote with."""
    if graph == "PaperNet":
        paper = _paper(data, node)
        papers: tuple[Fact, ...] = tuple(("paper", title) for title in paper.cites)
        return Result({"neighbours": list(paper.cites)}, (("cites", paper.title), *papers))
    author = _author(data, node)
    others = collaborators(data, author.name)
    authors: tuple[Fact, ...] = tuple(("author", name) for name in others)
    return Result({"neighbours": list(others)}, (("wrote_with", author.name), *authors))


def paperNodeCheck(data: Archive, node: str) -> Result[Archive]:
    """Authors, year, venue, citations, keywords and kind of a paper."""
    paper = _paper(data, node)
    told = {
        "authors": list(paper.authors),
        "year": paper.year,
        "venue": paper.venue,
        "n_citation": paper.citations,
        "keywords": list(paper.keywords),
        "doc_type": paper.kind,
    }
    authors: tuple[Fact, ...] = tuple(("author", name) for name in paper.authors)
    return Result(told, (("about_paper", paper.title), *authors))


def authorNodeCheck(data: Archive, node: str) -> Result[Archive]:
    """Where an author works."""
    author = _author(data, node)
    return Result({"name": author.name, "org": author.organisation}, (("about_author", author.name),))


def authorEdgeCheck(data: Archive, node1: str, node2: str) -> Result[Archive]:
    """The papers that two authors wrote together."""
    one, other = _author(data, node1), _author(data, node2)
    titles = common_papers(data, one.name, other.name)
    papers: tuple[Fact, ...] = tuple(("paper", title) for title in titles)
    return Result({"papers": list(titles)}, (("together", *sorted((one.name, other.name))), *papers))


def paperEdgeCheck(data: Archive, node1: str, node2: str) -> Result[Archive]:
    """Whether one of two papers cites the other."""
    one, other = _paper(data, node1), _paper(data, node2)
    fact = (("edge", *sorted((one.title, other.title))),)
    for citing, cited in ((one, other), (other, one)):
        if cited.title in citing.cites:
            return Result({"citing": citing.title, "cited": cited.title}, fact)
    return Result({"citing": None, "cited": None}, fact)


def collaborators(data: Archive, name: str) -> tuple[str, ...]:
    """Everyone who wrote a paper with someone, in the order of the authors."""
    return tuple(a.name for a in data.authors if a.name != name and common_papers(data, a.name, name))


def common_papers(data: Archive, one: str, other: str) -> tuple[str, ...]:
    """Titles of the papers that two people wrote together."""
    return tuple(paper.title for paper in data.papers if one in paper.authors and other in paper.authors)


def _load(data: Archive, net: str) -> Result[Archive]:
    loaded = data if net in data.loaded else data._replace(loaded=tuple(sorted((*data.loaded, net))))
    return Result(f"{net} is loaded.", (("loaded", net),), loaded)


def _paper(data: Archive, node: str) -> Paper:
    if "PaperNet" not in data.loaded:
        raise RefusedError("PaperNet is not loaded; call loadPaperNet first")
    wanted = " ".join(node.casefold().split()).rstrip(".")
    for paper in data.papers:
        if paper.title.casefold() == wanted:
            return paper
    raise RefusedError(f"there is no paper {quoted(node)}")


def _author(data: Archive, node: str) -> Author:
    if "AuthorNet" not in data.loaded:
        raise RefusedError("AuthorNet is not loaded; call loadAuthorNet first")
    wanted = " ".join(node.casefold().split())
    for author in data.authors:
        if author.name.casefold() == wanted:
            return author
    raise RefusedError(f"there is no author {quoted(node)}")


ACADEMIA_TOOLS = tool_table(
    (
        loadPaperNet,
        loadAuthorNet,
        neighbourCheck,
        paperNodeCheck,
        authorNodeCheck,
        authorEdgeCheck,
        paperEdgeCheck,
    )
)


class AcademiaTools(ToolServer[Archive]):
    """What research calls make sense."""

    name = "academia"
    tools = ACADEMIA_TOOLS
    handles = frozenset({"paper", "author"})
    introduction = "The research tools are ready."

    def make_data(self, difficulty: int, rng: Random) -> Archive:
        """Make up papers and authors."""
        return make_archive(difficulty, rng)

    def data_key(self, data: Archive) -> str:
        """Which graphs are loaded."""
        return ",".join(data.loaded)

    def offers(self, assignment: Assignment[Archive], data: Archive, known: frozenset[Fact]) -> Iterator[Call]:
        """Load a graph; check nodes and edges that the goal or a result has named."""
        goal = assignment.draft.goal
        yield Call("loadPaperNet", {})
        yield Call("loadAuthorNet", {})
        titles = [p.title for p in data.papers if p.title in goal or ("paper", p.title) in known]
        names = [a.name for a in data.authors if a.name in goal or ("author", a.name) in known]
        if "PaperNet" in data.loaded:
            for number, title in enumerate(titles):
                yield Call("paperNodeCheck", {"node": title})
                yield Call("neighbourCheck", {"graph": "PaperNet", "node": title})
                for other in titles[number + 1 :]:
                    yield Call("paperEdgeCheck", {"node1": title, "node2": other})
        if "AuthorNet" in data.loaded:
            for number, name in enumerate(names):
                yield Call("authorNodeCheck", {"node": name})
                yield Call("neighbourCheck", {"graph": "AuthorNet", "node": name})
                for other in names[number + 1 :]:
                    yield Call("authorEdgeCheck", {"node1": name, "node2": other})
