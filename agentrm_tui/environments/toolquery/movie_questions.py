"""Questions about films and their people, each a small program of calls that ends in its answer."""

from __future__ import annotations

from random import Random
from typing import Any

from agentrm_tui.environments.toolquery.movie import Film, Library, MovieTools, Person
from agentrm_tui.environments.toolquery.names import COMPANIES, COUNTRIES, KEYWORDS, TOWNS
from agentrm_tui.environments.tools import Draft, Plan
from agentrm_tui.environments.tools.answers import Answer


def find_film(plan: Plan[Library], title: str) -> dict[str, str]:
    """Search for a film; its id as argument."""
    found = plan.call(f"I need the id of {title}.", "get_search_movie", movie_name=title)
    return {"movie_id": found["id"]}


def find_person(plan: Plan[Library], name: str) -> dict[str, str]:
    """Search for a person; the id as argument."""
    found = plan.call(f"I need the id of {name}.", "get_search_person", person_name=name)
    return {"person_id": found["id"]}


def details(plan: Plan[Library], film: Film) -> dict[str, Any]:
    """Search for a film and ask for its details."""
    told: dict[str, Any] = plan.call(
        f"Now the details of {film.title}.", "get_movie_details", **find_film(plan, film.title)
    )
    return told


def some(rng: Random, right: str, others: tuple[str, ...]) -> tuple[Answer, ...]:
    """The right answer among three others."""
    return tuple(sorted([right, *rng.sample([other for other in others if other != right], 3)]))


def release(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """When a film came out."""
    film = rng.choice(data.films)
    found = details(plan, film)["release_date"]
    dates = tuple(other.release for other in data.films)
    return Draft(f"When was {film.title} released?", found, f"It was released on {found}.", dates)


def money(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """What a film cost or earned."""
    film, what = rng.choice(data.films), rng.choice(("budget", "revenue"))
    found = details(plan, film)[what]
    choices = tuple(getattr(other, what) for other in data.films)
    return Draft(f"What was the {what} of {film.title}, in millions?", found, f"The {what} is {found}.", choices)


def listed(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """The countries, companies or keywords of a film."""
    film = rng.choice(data.films)
    tool, key, asked, names = rng.choice(
        (
            ("get_movie_production_countries", "production_countries", "In which countries was {} made?", COUNTRIES),
            ("get_movie_production_companies", "production_companies", "Which companies produced {}?", COMPANIES),
            ("get_movie_keywords", "keywords", "Which keywords does {} have?", KEYWORDS),
        )
    )
    found = plan.call(f"Now {key.replace('_', ' ')}.", tool, **find_film(plan, film.title))[key]
    others: list[Answer] = [sorted(rng.sample(names, len(found))) for _ in range(2)]
    goal = f"{asked.format(film.title)} Answer with a list."
    return Draft(goal, found, "These are all.", (found, *(other for other in others if sorted(found) != other)))


def born(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """When or where a person was born."""
    person = rng.choice(data.people)
    word, key = rng.choice((("When", "birthday"), ("Where", "place_of_birth")))
    found = plan.call("Now the details.", "get_person_details", **find_person(plan, person.name))[key]
    choices = tuple(p.birthday for p in data.people[:3]) if key == "birthday" else TOWNS[:3]
    return Draft(f"{word} was {person.name} born?", found, f"It says {found}.", (found, *choices))


def external(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """A person's name on another service."""
    person, key = rng.choice(data.people), rng.choice(("imdb_id", "facebook_id", "instagram_id", "twitter_id"))
    told = plan.call("Now the external ids.", "get_person_external_ids", **find_person(plan, person.name))
    goal = f"What is the {key.removesuffix('_id')} id of {person.name}?"
    return Draft(goal, told[key], f"It is {told[key]}.", tuple(told.values()))


def director(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """Who directed, produced or wrote a film."""
    film = rng.choice(data.films)
    job, verb = rng.choice((("Director", "directed"), ("Producer", "produced"), ("Writer", "wrote")))
    crew = plan.call("Now the crew.", "get_movie_crew", **find_film(plan, film.title))["crew"]
    found = next(member["name"] for member in crew if member["job"] == job)
    return Draft(f"Who {verb} {film.title}?", found, f"The {job.lower()} is {found}.", _names(crew))


def played(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """Who plays a character."""
    film = rng.choice(data.films)
    part = rng.choice(film.cast).part
    cast = plan.call("Now the cast.", "get_movie_cast", **find_film(plan, film.title))["cast"]
    found = next(member["name"] for member in cast if member["character"] == part)
    goal = f"Who plays the {part} in {film.title}?"
    return Draft(goal, found, f"The {part} is {found}.", _names(cast))


def other_title(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """What a film is called in another country, or how it is described in another language."""
    film = rng.choice(data.films)
    if rng.random() < 0.5:
        country, found = rng.choice(film.titles)
        plan.call("Now its other titles.", "get_movie_alternative_titles", **find_film(plan, film.title))
        goal = f"Under which title did {film.title} run in {country}?"
        return Draft(goal, found, f"In {country} it is {found}.", tuple(title for _, title in film.titles))
    language, found = rng.choice(film.translations)
    plan.call("Now the translations.", "get_movie_translation", **find_film(plan, film.title))
    goal = f"What is the {language} description of {film.title}?"
    return Draft(goal, found, f"In {language} it is {found}.", tuple(text for _, text in film.translations))


def roles_of(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """In how many films a person acts."""
    person = rng.choice(data.people)
    cast = plan.call("Now the roles.", "get_person_cast", **find_person(plan, person.name))["cast"]
    goal = f"In how many films does {person.name} act?"
    return Draft(goal, len(cast), f"There are {len(cast)}.", tuple(range(4)))


def earlier(data: Library, rng: Random, plan: Plan[Library]) -> Draft | None:
    """Which of two films came out first."""
    return _compare(data, rng, plan, "release_date", "was released earlier", least=True)


def better_vote(data: Library, rng: Random, plan: Plan[Library]) -> Draft | None:
    """Which of two films has the higher vote."""
    return _compare(data, rng, plan, "vote_average", "has the higher vote", least=False)


def richer(data: Library, rng: Random, plan: Plan[Library]) -> Draft | None:
    """Which of two films cost or earned more."""
    key = rng.choice(("budget", "revenue"))
    return _compare(data, rng, plan, key, f"had the higher {key}", least=False)


def director_born(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """Where or when the director of a film was born."""
    film = rng.choice(data.films)
    crew = plan.call("I need the director.", "get_movie_crew", **find_film(plan, film.title))["crew"]
    member = next(member for member in crew if member["job"] == "Director")
    return _born(data, rng, plan, member, f"the director of {film.title}")


def actor_born(data: Library, rng: Random, plan: Plan[Library]) -> Draft:
    """Where or when the actor of a character was born."""
    film = rng.choice(data.films)
    part = rng.choice(film.cast).part
    cast = plan.call("I need the actor.", "get_movie_cast", **find_film(plan, film.title))["cast"]
    member = next(member for member in cast if member["character"] == part)
    return _born(data, rng, plan, member, f"the actor of the {part} in {film.title}")


def both_films(data: Library, rng: Random, plan: Plan[Library]) -> Draft | None:
    """Who acts in two films."""
    one, other = rng.sample(data.films, 2)
    casts = [
        plan.call(f"Now the cast of {film.title}.", "get_movie_cast", **find_film(plan, film.title))["cast"]
        for film in (one, other)
    ]
    common = [name for name in _names(casts[0]) if name in _names(casts[1])]
    if len(common) != 1:
        return None
    choices = tuple(dict.fromkeys((*_names(casts[0]), *_names(casts[1]))))
    goal = f"Who acts in both {one.title} and {other.title}?"
    return Draft(goal, common[0], f"{common[0]} is in both.", choices)


def best_directed(data: Library, rng: Random, plan: Plan[Library]) -> Draft | None:
    """The film with the highest vote among those that a person worked on."""
    person: Person = rng.choice(data.people)
    crew = plan.call("I need the films.", "get_person_crew", **find_person(plan, person.name))["crew"]
    titles = {film["id"]: film["title"] for film in crew}
    if not 2 <= len(titles) <= 3:
        return None
    votes = {}
    for film_id, title in titles.items():
        votes[title] = plan.call(f"Now the vote of {title}.", "get_movie_details", movie_id=film_id)["vote_average"]
    best = max(votes.values())
    if list(votes.values()).count(best) > 1:
        return None
    found = next(title for title, vote in votes.items() if vote == best)
    goal = f"Which film that {person.name} directed, produced or wrote has the highest vote?"
    return Draft(goal, found, f"{best} for {found} is the most.", tuple(votes))


def _born(data: Library, rng: Random, plan: Plan[Library], member: dict[str, str], who: str) -> Draft:
    word, key = rng.choice((("When", "birthday"), ("Where", "place_of_birth")))
    found = plan.call(f"Now about {member['name']}.", "get_person_details", person_id=member["id"])[key]
    choices = tuple(p.birthday for p in data.people[:3]) if key == "birthday" else TOWNS[:3]
    return Draft(f"{word} was {who} born?", found, f"It says {found}.", (found, *choices))


def _compare(data: Library, rng: Random, plan: Plan[Library], key: str, what: str, least: bool) -> Draft | None:
    one, other = rng.sample(data.films, 2)
    values = [details(plan, film)[key] for film in (one, other)]
    if values[0] == values[1]:
        return None
    found = one.title if (values[0] < values[1]) == least else other.title
    right, wrong = sorted(values, reverse=not least)
    thought = f"{right} is {('earlier than' if least else 'more than')} {wrong}: {found}."
    return Draft(f"Which film {what}, {one.title} or {other.title}?", found, thought, (one.title, other.title))


def _names(members: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(member["name"] for member in members))


class MovieServer(MovieTools):
    """Film tools with questions of three difficulties: one search, a search and a list, several films or people."""

    templates = (
        (release, money, listed, born, external, other_title),
        (director, played, roles_of, director_born, actor_born),
        (earlier, better_vote, richer, both_films, best_directed),
    )
