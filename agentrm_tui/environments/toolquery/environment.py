"""ToolQuery: questions that are answered by calling the tools of a weather service, a film library or an archive."""

from __future__ import annotations

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits
from agentrm_tui.environments.toolquery.academia_questions import AcademiaServer
from agentrm_tui.environments.toolquery.movie_questions import MovieServer
from agentrm_tui.environments.toolquery.weather_questions import WeatherServer
from agentrm_tui.environments.tools import ToolEnvironment

_FULL = """\
Answer a question by calling the tools of one service. Each step is one call with JSON arguments.
weather
- (): get_user_current_date, get_user_current_location
- (name): get_latitude_longitude
- (latitude, longitude): get_elevation; (latitude1, longitude1, latitude2, longitude2): get_distance
- (latitude, longitude, start_date, end_date): get_historical_temp, get_historical_rain, get_historical_snow, \
get_historical_air_quality_index, get_temp_forecast, get_rain_forecast, get_snow_forecast
- (latitude, longitude, current_date): get_current_temp, get_current_rain, get_current_snow, \
get_current_air_quality_index
- (air_quality_index): get_air_quality_level
movie
- (movie_name): get_search_movie; (person_name): get_search_person
- (movie_id): get_movie_details, get_movie_production_companies, get_movie_production_countries, get_movie_cast, \
get_movie_crew, get_movie_keywords, get_movie_alternative_titles, get_movie_translation
- (person_id): get_person_details, get_person_cast, get_person_crew, get_person_external_ids
academia
- (): loadPaperNet, loadAuthorNet, one of them first
- (node): paperNodeCheck, authorNodeCheck; (node1, node2): paperEdgeCheck, authorEdgeCheck
- (graph, node): neighbourCheck, with graph PaperNet or AuthorNet
all: finish(answer), check_valid_actions()
Ids are texts; dates are texts like "2031-05-17". Do not guess coordinates, ids or dates: look them up. What counts \
is the results that the question needs, and the right answer. A wrong answer ends the episode, and so does the third \
refused call.
Reply with one thought and one action:
Thought: I need the id of Silent Harbour.
Action: get_search_movie with Action Input: {"movie_name": "Silent Harbour"}"""

_SHORT = (
    "Answer by tool calls: get_latitude_longitude, get_elevation, get_distance, get_historical_*, get_*_forecast, "
    "get_current_*, get_air_quality_level, get_user_current_*; get_search_movie, get_search_person, get_movie_*, "
    "get_person_*; loadPaperNet, loadAuthorNet, neighbourCheck, paperNodeCheck, authorNodeCheck, *EdgeCheck. "
    "Look things up, then finish with the answer. A wrong answer or the third refused call ends it."
)


class ToolQueryEnvironment(ToolEnvironment):
    """Weather, film and research questions over made-up data; a compatible re-implementation of AgentBoard's tools."""

    def __init__(self) -> None:
        super().__init__((WeatherServer(), MovieServer(), AcademiaServer()))

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """Tools and rules, or the tool names alone."""
        return _FULL if style == "full" else _SHORT


_LEVELS = tuple(f"{server}-{difficulty}" for difficulty in (1, 2, 3) for server in ("weather", "movie", "academia"))

_TRAITS = EnvironmentTraits(
    name="toolquery",
    origin="compatible",
    summary="Answer questions with the tools of a weather service, a film library and a research archive.",
    levels=_LEVELS,
    snapshots=True,
    valid_actions=True,
    expert=True,
    state_keys=True,
    procedural=True,
)
