"""Known answers of the weather, film and research tools, and the scores of questions."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest

from agentrm_tui.environments.toolquery import ToolQueryEnvironment
from agentrm_tui.environments.toolquery.academia import ACADEMIA_TOOLS, Archive, Author, Paper
from agentrm_tui.environments.toolquery.academia_questions import AcademiaServer
from agentrm_tui.environments.toolquery.movie import MOVIE_TOOLS, Film, Library, Person, Role
from agentrm_tui.environments.toolquery.movie_questions import MovieServer
from agentrm_tui.environments.toolquery.weather import FUTURE_DAYS, PAST_DAYS, WEATHER_TOOLS, City, Weather
from agentrm_tui.environments.toolquery.weather_questions import WeatherServer
from agentrm_tui.environments.tools import RefusedError, ToolServer
from agentrm_tui.environments.tools.calls import Call, format_call, parse_call
from agentrm_tui.environments.tools.server import run_tool

DAYS = PAST_DAYS + 1 + FUTURE_DAYS
UP, DOWN = tuple(range(DAYS)), tuple(range(100, 100 - DAYS, -1))
WEATHER = Weather(
    (City("Lindow", 10.0, 20.0, 120, UP, DOWN, UP, DOWN), City("Marwick", 10.0, 21.0, 80, DOWN, UP, DOWN, UP)),
    date(2031, 3, 1),
    "Marwick",
)
AT = {"latitude": 10.0, "longitude": 20.0}
PAST = {**AT, "start_date": "2031-02-27", "end_date": "2031-02-28"}
COMING = {**AT, "start_date": "2031-03-02", "end_date": "2031-03-03"}
NOW = {**AT, "current_date": "2031-03-01"}

ADA, BEN = (
    Person("101", "Ada Falk", "1960-05-06", "Tirna", "ada.falk"),
    Person("102", "Ben Orsi", "1971-01-02", "Skarn", "benorsi"),
)
FILM = Film(
    "201", "Paper River", "A clerk finds a lost map.", 12, 80, ("Drama",), 7.5, "1999-03-04", ("Red Kite",),
    ("Kaldia", "Norland"), ("war", "ship"), (("Kaldia", "Iron River"),), (("Kaldish", "mira miro"),),
    (Role("101", "Judge"), Role("102", "Baker")),
    (Role("102", "Director"), Role("101", "Producer"), Role("102", "Writer")),
)  # fmt: skip
LIBRARY = Library((FILM, FILM._replace(id="202", title="Iron Crown", cast=(Role("101", "Pilot"),))), (ADA, BEN))

FAST = "Fast Ranking of Rivers"
ARCHIVE = Archive(
    (
        Paper(FAST, ("Ada Falk", "Ben Orsi"), 2001, "NEXUS", 7, ("fast",), "Journal", ()),
        Paper("Lazy Mapping of Stars", ("Ben Orsi",), 2003, "ORBIT", 9, ("lazy",), "Conference", (FAST,)),
        Paper("Deep Sorting of Poems", ("Cy Lund",), 2004, "LUMEN", 0, (), "Journal", ()),
    ),
    (Author("Ada Falk", "Skarn Labs"), Author("Ben Orsi", "Tirna University"), Author("Cy Lund", "Skarn Labs")),
    ("AuthorNet", "PaperNet"),
)  # fmt: skip

WEATHER_ANSWERS: dict[str, tuple[dict[str, Any], Any]] = {
    "get_user_current_date": ({}, "2031-03-01"),
    "get_user_current_location": ({}, "Marwick"),
    "get_latitude_longitude": ({"name": "lindow"}, {"name": "Lindow", "latitude": 10.0, "longitude": 20.0}),
    "get_elevation": (AT, {"elevation_m": 120}),
    "get_distance": (
        {"latitude1": 10.0, "longitude1": 20.0, "latitude2": 10.0, "longitude2": 21.0},
        {"distance_km": 110},  # a degree on the equator is 111.19 km; times cos(10 degrees) = 0.9848
    ),
    "get_historical_temp": (PAST, {"temp_c": {"2031-02-27": 12, "2031-02-28": 13}}),
    "get_historical_rain": (PAST, {"rain_mm": {"2031-02-27": 88, "2031-02-28": 87}}),
    "get_historical_snow": (PAST, {"snow_cm": {"2031-02-27": 12, "2031-02-28": 13}}),
    "get_historical_air_quality_index": (PAST, {"aqi": {"2031-02-27": 88, "2031-02-28": 87}}),
    "get_temp_forecast": (COMING, {"temp_c": {"2031-03-02": 15, "2031-03-03": 16}}),
    "get_rain_forecast": (COMING, {"rain_mm": {"2031-03-02": 85, "2031-03-03": 84}}),
    "get_snow_forecast": (COMING, {"snow_cm": {"2031-03-02": 15, "2031-03-03": 16}}),
    "get_current_temp": (NOW, {"temp_c": {"2031-03-01": 14}}),
    "get_current_rain": (NOW, {"rain_mm": {"2031-03-01": 86}}),
    "get_current_snow": (NOW, {"snow_cm": {"2031-03-01": 14}}),
    "get_current_air_quality_index": (NOW, {"aqi": {"2031-03-01": 86}}),
    "get_air_quality_level": ({"air_quality_index": 60}, {"air_quality_level": "moderate"}),
}
MOVIE, PERSON = {"movie_id": "201"}, {"person_id": "102"}
CREW = [("102", "Ben Orsi", "Director"), ("101", "Ada Falk", "Producer"), ("102", "Ben Orsi", "Writer")]
MOVIE_ANSWERS: dict[str, tuple[dict[str, Any], Any]] = {
    "get_search_movie": (
        {"movie_name": "paper  river"},
        {"id": "201", "title": "Paper River", "overview": "A clerk finds a lost map."},
    ),
    "get_movie_details": (
        MOVIE,
        {"budget": 12, "genres": ["Drama"], "revenue": 80, "vote_average": 7.5, "release_date": "1999-03-04"},
    ),
    "get_movie_production_companies": (MOVIE, {"production_companies": ["Red Kite"]}),
    "get_movie_production_countries": (MOVIE, {"production_countries": ["Kaldia", "Norland"]}),
    "get_movie_cast": (
        MOVIE,
        {
            "cast": [
                {"id": "101", "name": "Ada Falk", "character": "Judge"},
                {"id": "102", "name": "Ben Orsi", "character": "Baker"},
            ]
        },
    ),
    "get_movie_crew": (MOVIE, {"crew": [{"id": i, "name": name, "job": job} for i, name, job in CREW]}),
    "get_movie_keywords": (MOVIE, {"keywords": ["war", "ship"]}),
    "get_movie_alternative_titles": (MOVIE, {"id": "201", "titles": [{"country": "Kaldia", "title": "Iron River"}]}),
    "get_movie_translation": (
        MOVIE,
        {"id": "201", "translations": [{"language": "Kaldish", "overview": "mira miro"}]},
    ),
    "get_search_person": ({"person_name": "Ben Orsi"}, {"id": "102", "name": "Ben Orsi"}),
    "get_person_details": (
        PERSON,
        {"biography": "Acts in films.", "birthday": "1971-01-02", "place_of_birth": "Skarn"},
    ),
    "get_person_cast": (PERSON, {"cast": [{"id": "201", "title": "Paper River", "character": "Baker"}]}),
    "get_person_crew": (
        {"person_id": "101"},
        {
            "crew": [
                {"id": "201", "title": "Paper River", "job": "Producer"},
                {"id": "202", "title": "Iron Crown", "job": "Producer"},
            ]
        },
    ),
    "get_person_external_ids": (
        PERSON,
        {
            "imdb_id": "nm102",
            "facebook_id": "benorsi.page",
            "instagram_id": "benorsi",
            "twitter_id": "the_benorsi",
        },
    ),
}
ACADEMIA_ANSWERS: dict[str, tuple[dict[str, Any], Any]] = {
    "loadPaperNet": ({}, "PaperNet is loaded."),
    "loadAuthorNet": ({}, "AuthorNet is loaded."),
    "neighbourCheck": (
        {"graph": "PaperNet", "node": "Lazy Mapping of Stars"},
        {"neighbours": [FAST]},
    ),
    "paperNodeCheck": (
        {"node": "fast ranking of rivers."},
        {
            "authors": ["Ada Falk", "Ben Orsi"],
            "year": 2001,
            "venue": "NEXUS",
            "n_citation": 7,
            "keywords": ["fast"],
            "doc_type": "Journal",
        },
    ),
    "authorNodeCheck": ({"node": "Cy Lund"}, {"name": "Cy Lund", "org": "Skarn Labs"}),
    "authorEdgeCheck": ({"node1": "Ben Orsi", "node2": "Ada Falk"}, {"papers": ["Fast Ranking of Rivers"]}),
    "paperEdgeCheck": (
        {"node1": "Fast Ranking of Rivers", "node2": "Lazy Mapping of Stars"},
        {"citing": "Lazy Mapping of Stars", "cited": "Fast Ranking of Rivers"},
    ),
}
SETS = (
    (WEATHER_TOOLS, WEATHER, WEATHER_ANSWERS),
    (MOVIE_TOOLS, LIBRARY, MOVIE_ANSWERS),
    (ACADEMIA_TOOLS, ARCHIVE, ACADEMIA_ANSWERS),
)


@pytest.mark.parametrize(
    ("number", "name"), [(number, name) for number, (tools, _, _) in enumerate(SETS) for name in tools]
)
def test_known_answer_of_every_tool(number: int, name: str) -> None:
    tools, data, answers = SETS[number]
    arguments, expected = answers[name]
    assert run_tool(tools, data, Call(name, arguments)).value == expected


@pytest.mark.parametrize(
    ("number", "name", "arguments", "says"),
    [
        (0, "get_latitude_longitude", {"name": "Nowhere"}, 'there is no city "Nowhere"'),
        (0, "get_elevation", {"latitude": 10.0, "longitude": 30}, "there is no city at 10, 30"),
        (0, "get_current_temp", {**AT, "current_date": "2031-03-02"}, 'must be today\'s date, not "2031-03-02"'),
        (0, "get_current_temp", {**AT, "current_date": "1 March"}, 'must be a date like 2031-03-01, not "1 March"'),
        (0, "get_historical_temp", {**PAST, "end_date": "2031-03-01"}, "only from 2031-02-15 to 2031-02-28"),
        (0, "get_temp_forecast", PAST, "a forecast only from 2031-03-02 to 2031-03-08"),
        (0, "get_temp_forecast", {**COMING, "end_date": "2031-03-01"}, "end_date is before start_date"),
        (0, "get_historical_rain", {**PAST, "start_date": "2031-02-16"}, "at most 7 days"),
        (0, "get_air_quality_level", {"air_quality_index": -1}, "not negative"),
        (1, "get_search_movie", {"movie_name": "Ash"}, 'there is no film "Ash"'),
        (1, "get_search_person", {"person_name": "Ada"}, 'there is no person "Ada"'),
        (1, "get_movie_cast", {"movie_id": "101"}, 'there is no film with the id "101"'),
        (1, "get_movie_cast", {"movie_id": 201}, "movie_id must be a text, not 201"),
        (1, "get_person_cast", {"person_id": "201"}, 'there is no person with the id "201"'),
        (2, "paperNodeCheck", {"node": "Ada Falk"}, 'there is no paper "Ada Falk"'),
        (2, "authorNodeCheck", {"node": "x"}, 'there is no author "x"'),
        (2, "neighbourCheck", {"graph": "Net", "node": "x"}, 'graph must be one of "PaperNet", "AuthorNet", not "Net"'),
    ],
)
def test_impossible_calls_say_why(number: int, name: str, arguments: dict[str, Any], says: str) -> None:
    tools, data, _ = SETS[number]
    with pytest.raises(RefusedError) as error:
        run_tool(tools, data, Call(name, arguments))
    assert says in str(error.value)


def test_graphs_must_be_loaded_first() -> None:
    empty = ARCHIVE._replace(loaded=())
    with pytest.raises(RefusedError, match="call loadPaperNet first"):
        run_tool(ACADEMIA_TOOLS, empty, Call("paperNodeCheck", {"node": "Fast Ranking of Rivers"}))
    with pytest.raises(RefusedError, match="call loadAuthorNet first"):
        run_tool(ACADEMIA_TOOLS, empty, Call("authorNodeCheck", {"node": "Ada Falk"}))
    loaded = run_tool(ACADEMIA_TOOLS, empty, Call("loadAuthorNet", {})).data
    assert run_tool(ACADEMIA_TOOLS, loaded, Call("authorNodeCheck", {"node": "Ada Falk"})).value["org"] == "Skarn Labs"


def test_nothing_between_is_told_rather_than_refused() -> None:
    apart = {"node1": "Deep Sorting of Poems", "node2": "Lazy Mapping of Stars"}
    assert run_tool(ACADEMIA_TOOLS, ARCHIVE, Call("paperEdgeCheck", apart)).value == {"citing": None, "cited": None}
    apart = {"node1": "Ada Falk", "node2": "Cy Lund"}
    assert run_tool(ACADEMIA_TOOLS, ARCHIVE, Call("authorEdgeCheck", apart)).value == {"papers": []}


@pytest.mark.parametrize(
    ("index", "level"),
    [(0, "good"), (20, "good"), (21, "fair"), (80, "poor"), (100, "very poor"), (101, "extremely poor")],
)
def test_air_levels(index: int, level: str) -> None:
    told = run_tool(WEATHER_TOOLS, WEATHER, Call("get_air_quality_level", {"air_quality_index": index}))
    assert told.value == {"air_quality_level": level}


@pytest.mark.parametrize("server", [WeatherServer(), MovieServer(), AcademiaServer()])
def test_every_template_is_drawn_and_has_its_answer_among_the_choices(server: ToolServer[Any]) -> None:
    names = {template.__name__ for templates in server.templates for template in templates}
    assert len(names) >= 10
    drawn = set()
    for difficulty in range(1, len(server.templates) + 1):
        for seed in range(60):
            assignment = server.assignment(difficulty, seed)
            drawn.add(assignment.template)
            assert assignment.draft.answer in assignment.draft.choices, assignment.draft
            assert len(assignment.subgoals) >= 2
    assert drawn == names


def solve_up_to_the_answer(environment: ToolQueryEnvironment) -> list[float]:
    """Play the expert's calls but the last; the outcomes."""
    outcomes = []
    while not environment.expert()[1].startswith("finish"):
        outcomes.append(environment.step(environment.expert()[1]).outcome)
    return outcomes


def test_outcome_is_matched_subgoals_over_all() -> None:
    environment = ToolQueryEnvironment()
    for task in environment.tasks("dev", count=18):
        environment.reset(task)
        outcomes = solve_up_to_the_answer(environment)
        total = len(outcomes) + 1
        assert outcomes == pytest.approx([number / total for number in range(1, total)]), task.id
        snapshot = environment.snapshot()
        wrong = environment.step('finish with Action Input: {"answer": "no such thing"}')
        assert wrong == ("Wrong. The episode ends.", outcomes[-1], True, True)
        environment.restore(snapshot)
        assert environment.step(environment.expert()[1]) == ("Right.", 1.0, True, True)


def test_a_guessed_answer_counts_as_one_subgoal_only() -> None:
    environment = ToolQueryEnvironment()
    task = environment.task("movie-3:5")
    environment.reset(task)
    calls = len(solve_up_to_the_answer(environment))
    action = environment.expert()[1]
    environment.reset(task)
    result = environment.step(action)
    assert result.done and result.outcome == pytest.approx(1 / (calls + 1))


def test_a_wider_range_of_days_tells_the_needed_day_as_well() -> None:
    environment = ToolQueryEnvironment()
    server = WeatherServer()
    seed = next(seed for seed in range(100) if server.assignment(1, seed).template == "past_day")
    task = environment.task(f"weather-1:{seed}")
    environment.reset(task)
    environment.step(environment.expert()[1])
    call = parse_call(environment.expert()[1])
    data = server.assignment(1, seed).data
    days = [data.day(offset) for offset in range(-PAST_DAYS, 0)]
    at = days.index(call.arguments["start_date"])
    first = max(0, at - 3)
    wider = {**call.arguments, "start_date": days[first], "end_date": days[min(at + 2, PAST_DAYS - 1)]}
    assert environment.step(format_call(Call(call.name, wider))).outcome == pytest.approx(2 / 3)
    assert environment.expert()[1].startswith("finish")


def test_the_expert_goes_on_from_any_state() -> None:
    environment = ToolQueryEnvironment()
    rng = random.Random("any state")
    for task in environment.tasks("dev", first_seed=6_000, count=60):
        environment.reset(task)
        for _ in range(3):
            calls = [action for action in environment.valid_actions() if not action.startswith("finish")]
            assert not environment.step(rng.choice(calls)).done
        result = None
        while result is None or not result.done:
            result = environment.step(environment.expert()[1])
        assert result.outcome == 1.0, task.id


def test_offered_calls_use_only_what_was_told() -> None:
    environment = ToolQueryEnvironment()
    environment.reset(environment.task("movie-2:3"))
    assert all(action.startswith("get_search_") for action in environment.valid_actions())
    environment.reset(environment.task("weather-3:3"))
    assert not any("latitude" in action.partition("{")[2] for action in environment.valid_actions())
