"""Film tools over a made-up film library: films, their people and their roles. Tool names as in AgentBoard."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from agentrm_tui.environments.toolquery.names import (
    CHARACTERS,
    COMPANIES,
    COUNTRIES,
    FILM_ENDINGS,
    FILM_OPENINGS,
    KEYWORDS,
    LANGUAGES,
    PLOTS,
    TOWNS,
    people_names,
)
from agentrm_tui.environments.tools import Fact, RefusedError, Result, ToolServer, tool_table
from agentrm_tui.environments.tools.calls import Call
from agentrm_tui.environments.tools.server import Assignment
from agentrm_tui.environments.tools.signatures import quoted

GENRES = ("Drama", "Comedy", "Thriller", "Western", "Fantasy", "Mystery", "Romance", "Adventure")
JOBS = ("Director", "Producer", "Writer")


class Person(NamedTuple):
    """Someone who acts or works behind the camera."""

    id: str
    name: str
    birthday: str
    birthplace: str
    handle: str


class Role(NamedTuple):
    """A person's part in a film: a character's name, or a job."""

    person: str
    part: str


class Film(NamedTuple):
    """A film; money in millions."""

    id: str
    title: str
    overview: str
    budget: int
    revenue: int
    genres: tuple[str, ...]
    vote: float
    release: str
    companies: tuple[str, ...]
    countries: tuple[str, ...]
    keywords: tuple[str, ...]
    titles: tuple[tuple[str, str], ...]
    translations: tuple[tuple[str, str], ...]
    cast: tuple[Role, ...]
    crew: tuple[Role, ...]


class Library(NamedTuple):
    """All films and people."""

    films: tuple[Film, ...]
    people: tuple[Person, ...]

    def person(self, person_id: str) -> Person:
        """Look a person up who is known to exist."""
        return next(person for person in self.people if person.id == person_id)


def make_library(difficulty: int, rng: Random) -> Library:
    """Make up films and people."""
    count = 3 + difficulty
    numbers = iter(rng.sample(range(100, 1000), 40))
    names = people_names(rng, 2 * count)
    people = tuple(_make_person(str(next(numbers)), name, rng) for name in names)
    openings, endings = rng.sample(FILM_OPENINGS, count), rng.sample(FILM_ENDINGS, count)
    directors = [person.id for person in rng.sample(people, 2 + difficulty // 2)]
    films = []
    for opening, ending in zip(openings, endings, strict=True):
        cast = rng.sample(people, rng.randint(2, 3))
        crew = [rng.choice(directors), *(person.id for person in rng.sample(people, 2))]
        films.append(
            Film(
                id=str(next(numbers)),
                title=f"{opening} {ending}",
                overview=rng.choice(PLOTS),
                budget=rng.randint(2, 90),
                revenue=rng.randint(2, 300),
                genres=tuple(rng.sample(GENRES, rng.randint(1, 2))),
                vote=rng.randint(20, 95) / 10,
                release=_day(rng, 1980, 2028),
                companies=tuple(rng.sample(COMPANIES, rng.randint(1, 2))),
                countries=tuple(rng.sample(COUNTRIES, rng.randint(1, 2))),
                keywords=tuple(rng.sample(KEYWORDS, rng.randint(2, 4))),
                titles=tuple(
                    (country, f"{other} {ending}")
                    for country, other in zip(rng.sample(COUNTRIES, 2), rng.sample(FILM_OPENINGS, 2), strict=True)
                ),
                translations=tuple(
                    (language, f"{word}a {word}o")
                    for language, word in zip(rng.sample(LANGUAGES, 2), rng.sample(_SYLLABLES, 2), strict=True)
                ),
                cast=tuple(Role(p.id, part) for p, part in zip(cast, rng.sample(CHARACTERS, len(cast)), strict=True)),
                crew=tuple(Role(person, job) for person, job in zip(crew, JOBS, strict=True)),
            )
        )
    return Library(tuple(films), people)


_SYLLABLES = ("mir", "tal", "ves", "kor", "lun", "sab", "der", "nim")


def _make_person(number: str, name: str, rng: Random) -> Person:
    handle = name.lower().replace(" ", rng.choice((".", "_", "")))
    return Person(number, name, _day(rng, 1930, 2005), rng.choice(TOWNS), handle)


def _day(rng: Random, first: int, last: int) -> str:
    return f"{rng.randint(first, last)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def get_search_movie(data: Library, movie_name: str) -> Result[Library]:
    """Find a film by its title."""
    wanted = " ".join(movie_name.casefold().split())
    for film in data.films:
        if film.title.casefold() == wanted:
            found = {"id": film.id, "title": film.title, "overview": film.overview}
            return Result(found, (("film", film.id),))
    raise RefusedError(f"there is no film {quoted(movie_name)}")


def get_movie_details(data: Library, movie_id: str) -> Result[Library]:
    """Budget and revenue (in millions), genres, vote and release date."""
    film = _film(data, movie_id)
    told = {
        "budget": film.budget,
        "genres": list(film.genres),
        "revenue": film.revenue,
        "vote_average": film.vote,
        "release_date": film.release,
    }
    return Result(told, (("details", film.id),))


def get_movie_production_companies(data: Library, movie_id: str) -> Result[Library]:
    """Who produced a film."""
    film = _film(data, movie_id)
    return Result({"production_companies": list(film.companies)}, (("companies", film.id),))


def get_movie_production_countries(data: Library, movie_id: str) -> Result[Library]:
    """Where a film was made."""
    film = _film(data, movie_id)
    return Result({"production_countries": list(film.countries)}, (("countries", film.id),))


def get_movie_cast(data: Library, movie_id: str) -> Result[Library]:
    """Who acts in a film, and as whom."""
    film = _film(data, movie_id)
    cast = [_credit(data, role, "character") for role in film.cast]
    return Result({"cast": cast}, (("cast", film.id), *_met(film.cast)))


def get_movie_crew(data: Library, movie_id: str) -> Result[Library]:
    """Who directed, produced and wrote a film."""
    film = _film(data, movie_id)
    crew = [_credit(data, role, "job") for role in film.crew]
    return Result({"crew": crew}, (("crew", film.id), *_met(film.crew)))


def get_movie_keywords(data: Library, movie_id: str) -> Result[Library]:
    """Keywords of a film."""
    film = _film(data, movie_id)
    return Result({"keywords": list(film.keywords)}, (("keywords", film.id),))


def get_movie_alternative_titles(data: Library, movie_id: str) -> Result[Library]:
    """A film's titles in other countries."""
    film = _film(data, movie_id)
    titles = [{"country": country, "title": title} for country, title in film.titles]
    return Result({"id": film.id, "titles": titles}, (("titles", film.id),))


def get_movie_translation(data: Library, movie_id: str) -> Result[Library]:
    """A film's description in other languages."""
    film = _film(data, movie_id)
    texts = [{"language": language, "overview": text} for language, text in film.translations]
    return Result({"id": film.id, "translations": texts}, (("translations", film.id),))


def get_search_person(data: Library, person_name: str) -> Result[Library]:
    """Find a person by name."""
    wanted = " ".join(person_name.casefold().split())
    for person in data.people:
        if person.name.casefold() == wanted:
            return Result({"id": person.id, "name": person.name}, (("person", person.id),))
    raise RefusedError(f"there is no person {quoted(person_name)}")


def get_person_details(data: Library, person_id: str) -> Result[Library]:
    """When and where a person was born."""
    person = _person(data, person_id)
    acts = any(role.person == person.id for film in data.films for role in film.cast)
    told = {
        "biography": "Acts in films." if acts else "Works behind the camera.",
        "birthday": person.birthday,
        "place_of_birth": person.birthplace,
    }
    return Result(told, (("about", person.id),))


def get_person_cast(data: Library, person_id: str) -> Result[Library]:
    """The films that a person acts in."""
    return _filmography(data, person_id, "cast", "character")


def get_person_crew(data: Library, person_id: str) -> Result[Library]:
    """The films that a person directed, produced or wrote."""
    return _filmography(data, person_id, "crew", "job")


def get_person_external_ids(data: Library, person_id: str) -> Result[Library]:
    """A person's names elsewhere."""
    person = _person(data, person_id)
    told = {
        "imdb_id": f"nm{person.id}",
        "facebook_id": f"{person.handle}.page",
        "instagram_id": person.handle,
        "twitter_id": f"the_{person.handle}",
    }
    return Result(told, (("externals", person.id),))


def _film(data: Library, movie_id: str) -> Film:
    for film in data.films:
        if film.id == movie_id.strip():
            return film
    raise RefusedError(f"there is no film with the id {quoted(movie_id)}")


def _person(data: Library, person_id: str) -> Person:
    for person in data.people:
        if person.id == person_id.strip():
            return person
    raise RefusedError(f"there is no person with the id {quoted(person_id)}")


def _credit(data: Library, role: Role, part: str) -> dict[str, str]:
    return {"id": role.person, "name": data.person(role.person).name, part: role.part}


def _met(roles: tuple[Role, ...]) -> tuple[Fact, ...]:
    return tuple(dict.fromkeys(("person", role.person) for role in roles))


def _filmography(data: Library, person_id: str, kind: str, part: str) -> Result[Library]:
    person = _person(data, person_id)
    told: list[dict[str, Any]] = []
    facts: list[Fact] = [(f"{kind}_of", person.id)]
    for film in data.films:
        for role in getattr(film, kind):
            if role.person == person.id:
                told.append({"id": film.id, "title": film.title, part: role.part})
                facts.append(("film", film.id))
    return Result({kind: told}, tuple(dict.fromkeys(facts)))


_OF_FILM = (
    get_movie_details,
    get_movie_production_companies,
    get_movie_production_countries,
    get_movie_cast,
    get_movie_crew,
    get_movie_keywords,
    get_movie_alternative_titles,
    get_movie_translation,
)
_OF_PERSON = (get_person_details, get_person_cast, get_person_crew, get_person_external_ids)

MOVIE_TOOLS = tool_table((get_search_movie, *_OF_FILM, get_search_person, *_OF_PERSON))


class MovieTools(ToolServer[Library]):
    """What film calls make sense."""

    name = "movie"
    tools = MOVIE_TOOLS
    handles = frozenset({"film", "person"})
    introduction = "The film tools are ready."

    def make_data(self, difficulty: int, rng: Random) -> Library:
        """Make up the library."""
        return make_library(difficulty, rng)

    def offers(self, assignment: Assignment[Library], data: Library, known: frozenset[Fact]) -> Iterator[Call]:
        """Search for what the goal names; ask about films and people whose ids are known."""
        goal = assignment.draft.goal
        for film in data.films:
            if film.title in goal:
                yield Call("get_search_movie", {"movie_name": film.title})
        for person in data.people:
            if person.name in goal:
                yield Call("get_search_person", {"person_name": person.name})
        for film in data.films:
            if ("film", film.id) in known:
                yield from (Call(tool.__name__, {"movie_id": film.id}) for tool in _OF_FILM)
        for person in data.people:
            if ("person", person.id) in known:
                yield from (Call(tool.__name__, {"person_id": person.id}) for tool in _OF_PERSON)
