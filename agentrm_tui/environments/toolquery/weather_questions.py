"""Questions about the weather, each a small program of calls that ends in its answer."""

from __future__ import annotations

from random import Random
from typing import Any

from agentrm_tui.environments.toolquery.weather import AIR_LEVELS, PAST_DAYS, City, Weather, WeatherTools
from agentrm_tui.environments.tools import Draft, Plan
from agentrm_tui.environments.tools.answers import near

YES_NO = ("yes", "no")


def locate(plan: Plan[Weather], city: str, thought: str = "") -> dict[str, float]:
    """Ask where a city is; its coordinates as arguments."""
    place = plan.call(thought or f"I need the coordinates of {city}.", "get_latitude_longitude", name=city)
    return {"latitude": place["latitude"], "longitude": place["longitude"]}


def ask_date(plan: Plan[Weather]) -> str:
    """Ask for today's date."""
    today: str = plan.call("I need today's date.", "get_user_current_date")
    return today


def ask_home(plan: Plan[Weather]) -> str:
    """Ask where the user is."""
    home: str = plan.call("I need the user's city.", "get_user_current_location")
    return home


def span(start: str, end: str) -> dict[str, str]:
    """A range of days as arguments."""
    return {"start_date": start, "end_date": end}


def elevation(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """How high is a city?"""
    city = rng.choice(data.cities).name
    found = plan.call(f"Now the elevation of {city}.", "get_elevation", **locate(plan, city))["elevation_m"]
    asked = rng.choice((f"How many metres high is {city}?", f"What is the elevation of {city} in metres?"))
    return Draft(asked, found, f"{city} is {found} metres high.", near(found, rng))


def past_day(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """Temperature, rain, snow or air on a named past day."""
    city, day = rng.choice(data.cities).name, data.day(-rng.randint(1, PAST_DAYS))
    tool, unit, asked = rng.choice(
        (
            ("get_historical_temp", "temp_c", "How warm was it, in degrees Celsius,"),
            ("get_historical_rain", "rain_mm", "How many millimetres of rain fell"),
            ("get_historical_snow", "snow_cm", "How many centimetres of snow fell"),
            ("get_historical_air_quality_index", "aqi", "What was the air quality index"),
        )
    )
    found = plan.call(f"Now {day} in {city}.", tool, **locate(plan, city), **span(day, day))[unit][day]
    return Draft(f"{asked} in {city} on {day}?", found, f"It was {found}.", near(found, rng))


def now(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """Today's temperature or rain in a city."""
    city = rng.choice(data.cities).name
    tool, unit, asked = rng.choice(
        (
            ("get_current_temp", "temp_c", "How warm is it today, in degrees Celsius,"),
            ("get_current_rain", "rain_mm", "How many millimetres of rain fall today"),
            ("get_current_snow", "snow_cm", "How many centimetres of snow fall today"),
        )
    )
    today = ask_date(plan)
    found = plan.call(f"Now today in {city}.", tool, **locate(plan, city), current_date=today)[unit][today]
    return Draft(f"{asked} in {city}?", found, f"Today it is {found}.", near(found, rng))


def home_elevation(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """How high is the user's city?"""
    where = locate(plan, ask_home(plan))
    found = plan.call("Now its elevation.", "get_elevation", **where)["elevation_m"]
    return Draft("How many metres high is the city I am in?", found, f"It is {found} metres high.", near(found, rng))


def air_level_now(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """What the air is like today."""
    city = rng.choice(data.cities).name
    today = ask_date(plan)
    where = locate(plan, city)
    index = plan.call("Now today's air.", "get_current_air_quality_index", **where, current_date=today)["aqi"][today]
    level = plan.call(f"The index is {index}; what level is it?", "get_air_quality_level", air_quality_index=index)
    found = level["air_quality_level"]
    choices = (*(name for _, name in AIR_LEVELS), "extremely poor")
    return Draft(f"What is the air quality level in {city} today?", found, f"The air is {found}.", choices)


def distance(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """How far two cities are from each other."""
    one, other = (city.name for city in rng.sample(data.cities, 2))
    found = _ask_distance(plan, locate(plan, one), locate(plan, other))
    goal = f"How many kilometres is it from {one} to {other}?"
    return Draft(goal, found, f"It is {found} kilometres.", near(found, rng))


def higher(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft | None:
    """Which of two cities is higher."""
    one, other = rng.sample(data.cities, 2)
    heights = []
    for city in (one, other):
        where = locate(plan, city.name)
        heights.append(plan.call(f"Now the elevation of {city.name}.", "get_elevation", **where)["elevation_m"])
    if heights[0] == heights[1]:
        return None
    found = one.name if heights[0] > heights[1] else other.name
    thought = f"{max(heights)} is more than {min(heights)}: {found}."
    return Draft(f"Which city is higher, {one.name} or {other.name}?", found, thought, (one.name, other.name))


def tomorrow(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """Whether it will rain or snow on a coming day."""
    city, kind = rng.choice(data.cities).name, rng.choice(("rain", "snow"))
    day = data.day(rng.randint(1, 4))
    tool, unit = f"get_{kind}_forecast", "rain_mm" if kind == "rain" else "snow_cm"
    where = locate(plan, city)
    amount = plan.call(f"Now the {kind} forecast for {city}.", tool, **where, **span(day, day))[unit][day]
    found = "yes" if amount else "no"
    goal = f"Will it {kind} in {city} on {day}? Answer yes or no."
    return Draft(goal, found, f"The forecast says {amount}: {found}.", YES_NO)


def home_now(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """Today's temperature where the user is."""
    home, today = ask_home(plan), ask_date(plan)
    where = locate(plan, home)
    found = plan.call(f"Now today in {home}.", "get_current_temp", **where, current_date=today)["temp_c"][today]
    return Draft("How warm is it where I am today, in degrees Celsius?", found, f"It is {found}.", near(found, rng))


def warmest_day(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft | None:
    """Which of some days was or will be the warmest."""
    city, days = rng.choice(data.cities), rng.randint(3, 4)
    past = rng.random() < 0.5
    first = -rng.randint(days, PAST_DAYS) if past else rng.randint(1, 3)
    tool, verb = ("get_historical_temp", "was") if past else ("get_temp_forecast", "will be")
    start, end = data.day(first), data.day(first + days - 1)
    where = locate(plan, city.name)
    temps = plan.call("Now those temperatures.", tool, **where, **span(start, end))["temp_c"]
    best = max(temps.values())
    if list(temps.values()).count(best) > 1:
        return None
    found = next(day for day, temp in temps.items() if temp == best)
    goal = f"Which day from {start} to {end} {verb} the warmest in {city.name}? Answer with the date."
    return Draft(goal, found, f"{best} on {found} is the most.", tuple(temps))


def days_with_rain(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft:
    """On how many of some past days it rained or snowed."""
    city, days, kind = rng.choice(data.cities).name, rng.randint(3, 5), rng.choice(("rain", "snow"))
    first = -rng.randint(days, PAST_DAYS)
    start, end = data.day(first), data.day(first + days - 1)
    unit = "rain_mm" if kind == "rain" else "snow_cm"
    where = locate(plan, city)
    told = plan.call(f"Now the {kind}.", f"get_historical_{kind}", **where, **span(start, end))[unit]
    found = sum(1 for amount in told.values() if amount)
    goal = f"On how many days from {start} to {end} did it {kind} in {city}?"
    return Draft(goal, found, f"It did on {found} days.", tuple(range(days + 1)))


def warmer_city(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft | None:
    """Which of two cities was warmer on a past day."""
    day = data.day(-rng.randint(1, PAST_DAYS))
    return _compare(data, rng, plan, "get_historical_temp", "temp_c", day, "was warmer")


def worse_air(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft | None:
    """Which of two cities had the higher air quality index on a past day."""
    day = data.day(-rng.randint(1, PAST_DAYS))
    tool = "get_historical_air_quality_index"
    return _compare(data, rng, plan, tool, "aqi", day, "had the higher air quality index")


def wetter_forecast(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft | None:
    """Which of two cities will get more rain on a coming day."""
    day = data.day(rng.randint(1, 5))
    return _compare(data, rng, plan, "get_rain_forecast", "rain_mm", day, "will get more rain")


def warmer_than_home(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft | None:
    """Whether a city is warmer today than where the user is."""
    city = rng.choice([city for city in data.cities if city.name != data.home])
    home, today = ask_home(plan), ask_date(plan)
    temps = []
    for name in (home, city.name):
        where = locate(plan, name)
        told = plan.call(f"Now today in {name}.", "get_current_temp", **where, current_date=today)
        temps.append(told["temp_c"][today])
    if temps[0] == temps[1]:
        return None
    found = "yes" if temps[1] > temps[0] else "no"
    goal = f"Is it warmer today in {city.name} than where I am? Answer yes or no."
    return Draft(goal, found, f"{temps[1]} there, {temps[0]} here: {found}.", YES_NO)


def nearest_to_home(data: Weather, rng: Random, plan: Plan[Weather]) -> Draft | None:
    """Which of two cities is nearer to the user."""
    one, other = rng.sample([city for city in data.cities if city.name != data.home], 2)
    here = locate(plan, ask_home(plan))
    ways = [_ask_distance(plan, here, locate(plan, city.name), f"Now how far {city.name} is.") for city in (one, other)]
    if ways[0] == ways[1]:
        return None
    found = one.name if ways[0] < ways[1] else other.name
    goal = f"Which city is nearer to me, {one.name} or {other.name}?"
    return Draft(goal, found, f"{min(ways)} is less than {max(ways)}: {found}.", (one.name, other.name))


def _compare(
    data: Weather, rng: Random, plan: Plan[Weather], tool: str, unit: str, day: str, what: str
) -> Draft | None:
    pair: list[City] = rng.sample(data.cities, 2)
    values: list[int] = []
    for city in pair:
        where = locate(plan, city.name)
        values.append(plan.call(f"Now {city.name} on {day}.", tool, **where, **span(day, day))[unit][day])
    if values[0] == values[1]:
        return None
    one, other = (city.name for city in pair)
    found = one if values[0] > values[1] else other
    thought = f"{max(values)} is more than {min(values)}: {found}."
    return Draft(f"Which city {what} on {day}, {one} or {other}?", found, thought, (one, other))


def _ask_distance(plan: Plan[Weather], here: dict[str, float], there: dict[str, float], thought: str = "") -> int:
    ends: dict[str, Any] = {f"{name}1": value for name, value in here.items()}
    ends |= {f"{name}2": value for name, value in there.items()}
    told: int = plan.call(thought or "Now the distance.", "get_distance", **ends)["distance_km"]
    return told


class WeatherServer(WeatherTools):
    """Weather tools with questions of three difficulties: one place, one place and more calls, several places."""

    templates = (
        (elevation, past_day, now, home_elevation, tomorrow),
        (air_level_now, distance, warmest_day, days_with_rain, home_now),
        (higher, warmer_city, worse_air, wetter_forecast, warmer_than_home, nearest_to_home),
    )
