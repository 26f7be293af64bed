"""Weather tools over made-up cities: three weeks of weather around a made-up today. Tool names as in AgentBoard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Final, NamedTuple

from agentrm_tui.environments.tools import Fact, RefusedError, Result, ToolServer, tool_table
from agentrm_tui.environments.tools.calls import Call
from agentrm_tui.environments.tools.server import Assignment
from agentrm_tui.environments.tools.signatures import quoted
from agentrm_tui.environments.tools.words import words

PAST_DAYS = 14
"""Days before today with historical data."""

FUTURE_DAYS = 7
"""Days after today with a forecast."""

MOST_DAYS = 7
"""Days that one call may ask for."""

_REACH = 0.05
"""How far, in degrees, coordinates may be from a city's."""

_EARTH_RADIUS_KM = 6371.0

AIR_LEVELS = ((20, "good"), (40, "fair"), (60, "moderate"), (80, "poor"), (100, "very poor"))
"""Upper bounds (inclusive) of the European air quality index's bands; above the last one it is extremely poor."""

CITY_NAMES = words(
    "Aldermoor Brennach Corvale Dunfell Eastmere Farrowby Galdring Harvik Ilmstadt Jorland Kestrel Lindow Marwick "
    "Nordal Oakhaven Pellworth Quarrin Ravensey Silverton Tarnby Ulverdal Vellmar Westrand Yarrow Zandhoek Ashby "
    "Birkfell Clonmere Drayholt Elmsea Fennick Greyport Holmgard Isenau Kirkvale Larchfield Millrace Norwell"
)


class City(NamedTuple):
    """A place and its weather: one value a day, the first of them `PAST_DAYS` before today."""

    name: str
    latitude: float
    longitude: float
    elevation: int
    temp: tuple[int, ...]
    rain: tuple[int, ...]
    snow: tuple[int, ...]
    aqi: tuple[int, ...]


class Weather(NamedTuple):
    """All that the tools know. The past comes first in each city's weather."""

    cities: tuple[City, ...]
    today: date
    home: str

    def day(self, offset: int) -> str:
        """The date so many days after today."""
        return (self.today + timedelta(offset)).isoformat()


def make_weather(difficulty: int, rng: Random) -> Weather:
    """Make up cities and their weather."""
    names = rng.sample(CITY_NAMES, 3 + difficulty)
    spots = rng.sample([(lat, lon) for lat in range(-60, 70, 6) for lon in range(-170, 180, 10)], len(names))
    days = PAST_DAYS + 1 + FUTURE_DAYS
    cities = []
    for name, (lat, lon) in zip(names, spots, strict=True):
        warmth = rng.randint(-4, 22)
        temps = tuple(warmth + rng.randint(-6, 6) for _ in range(days))
        wet = tuple(rng.choice((0, 0, rng.randint(1, 20))) for _ in range(days))
        rain = tuple(amount if temp > 1 else 0 for amount, temp in zip(wet, temps, strict=True))
        snow = tuple(amount if temp <= 1 else 0 for amount, temp in zip(wet, temps, strict=True))
        aqi = tuple(rng.randint(5, 115) for _ in range(days))
        cities.append(
            City(name, _tenths(lat, rng), _tenths(lon, rng), rng.randint(1, 180) * 10, temps, rain, snow, aqi)
        )
    today = date(2031, 1, 1) + timedelta(rng.randrange(20, 340))
    return Weather(tuple(cities), today, rng.choice(names))


def get_user_current_date(data: Weather) -> Result[Weather]:
    """Today's date, YYYY-MM-DD."""
    return Result(data.day(0), (("today",),))


def get_user_current_location(data: Weather) -> Result[Weather]:
    """The city that the user is in."""
    return Result(data.home, (("home",),))


def get_latitude_longitude(data: Weather, name: str) -> Result[Weather]:
    """Where a city is."""
    for city in data.cities:
        if city.name.casefold() == name.strip().casefold():
            where = {"name": city.name, "latitude": city.latitude, "longitude": city.longitude}
            return Result(where, (("place", city.name),))
    raise RefusedError(f"there is no city {quoted(name)}")


def get_elevation(data: Weather, latitude: float, longitude: float) -> Result[Weather]:
    """How high a city is, in metres."""
    city = _city_at(data, latitude, longitude)
    return Result({"elevation_m": city.elevation}, (("elevation", city.name),))


def get_distance(
    data: Weather, latitude1: float, longitude1: float, latitude2: float, longitude2: float
) -> Result[Weather]:
    """How far two cities are from each other, in kilometres (great circle, rounded)."""
    one, other = _city_at(data, latitude1, longitude1), _city_at(data, latitude2, longitude2)
    names = sorted((one.name, other.name))
    return Result({"distance_km": distance_km(one, other)}, (("distance", *names),))


def get_historical_temp(
    data: Weather, latitude: float, longitude: float, start_date: str, end_date: str
) -> Result[Weather]:
    """Temperatures of past days, in degrees Celsius."""
    return _range(data, "temp", latitude, longitude, start_date, end_date, past=True)


def get_historical_rain(
    data: Weather, latitude: float, longitude: float, start_date: str, end_date: str
) -> Result[Weather]:
    """Rain of past days, in millimetres."""
    return _range(data, "rain", latitude, longitude, start_date, end_date, past=True)


def get_historical_snow(
    data: Weather, latitude: float, longitude: float, start_date: str, end_date: str
) -> Result[Weather]:
    """Snow of past days, in centimetres."""
    return _range(data, "snow", latitude, longitude, start_date, end_date, past=True)


def get_historical_air_quality_index(
    data: Weather, latitude: float, longitude: float, start_date: str, end_date: str
) -> Result[Weather]:
    """Air quality index of past days."""
    return _range(data, "aqi", latitude, longitude, start_date, end_date, past=True)


def get_temp_forecast(
    data: Weather, latitude: float, longitude: float, start_date: str, end_date: str
) -> Result[Weather]:
    """Temperatures of coming days, in degrees Celsius."""
    return _range(data, "temp", latitude, longitude, start_date, end_date, past=False)


def get_rain_forecast(
    data: Weather, latitude: float, longitude: float, start_date: str, end_date: str
) -> Result[Weather]:
    """Rain of coming days, in millimetres."""
    return _range(data, "rain", latitude, longitude, start_date, end_date, past=False)


def get_snow_forecast(
    data: Weather, latitude: float, longitude: float, start_date: str, end_date: str
) -> Result[Weather]:
    """Snow of coming days, in centimetres."""
    return _range(data, "snow", latitude, longitude, start_date, end_date, past=False)


def get_current_temp(data: Weather, latitude: float, longitude: float, current_date: str) -> Result[Weather]:
    """Today's temperature, in degrees Celsius."""
    return _current(data, "temp", latitude, longitude, current_date)


def get_current_rain(data: Weather, latitude: float, longitude: float, current_date: str) -> Result[Weather]:
    """Today's rain, in millimetres."""
    return _current(data, "rain", latitude, longitude, current_date)


def get_current_snow(data: Weather, latitude: float, longitude: float, current_date: str) -> Result[Weather]:
    """Today's snow, in centimetres."""
    return _current(data, "snow", latitude, longitude, current_date)


def get_current_air_quality_index(
    data: Weather, latitude: float, longitude: float, current_date: str
) -> Result[Weather]:
    """Today's air quality index."""
    return _current(data, "aqi", latitude, longitude, current_date)


def get_air_quality_level(data: Weather, air_quality_index: int) -> Result[Weather]:
    """What an air quality index means."""
    if air_quality_index < 0:
        raise RefusedError("an air quality index is not negative")
    level = air_level(air_quality_index)
    return Result({"air_quality_level": level}, (("level", str(air_quality_index)),))


def air_level(index: int) -> str:
    """The band of an air quality index."""
    return next((level for bound, level in AIR_LEVELS if index <= bound), "extremely poor")


def distance_km(one: City, other: City) -> int:
    """Great-circle distance (haversine formula), in whole kilometres."""
    lat1, lat2 = math.radians(one.latitude), math.radians(other.latitude)
    half_lat, half_lon = (lat2 - lat1) / 2, math.radians(other.longitude - one.longitude) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return round(2 * _EARTH_RADIUS_KM * math.asin(math.sqrt(chord)))


def _tenths(degrees: int, rng: Random) -> float:
    return (degrees * 10 + rng.randint(-20, 20)) / 10


def _city_at(data: Weather, latitude: float, longitude: float) -> City:
    for city in data.cities:
        if abs(city.latitude - latitude) <= _REACH and abs(city.longitude - longitude) <= _REACH:
            return city
    raise RefusedError(f"there is no city at {latitude:.6g}, {longitude:.6g}")


def _offset(data: Weather, name: str, text: str) -> int:
    try:
        return (date.fromisoformat(text) - data.today).days
    except ValueError:
        raise RefusedError(f"{name} must be a date like {data.day(0)}, not {quoted(text)}") from None


def _range(
    data: Weather, kind: str, latitude: float, longitude: float, start_date: str, end_date: str, past: bool
) -> Result[Weather]:
    city = _city_at(data, latitude, longitude)
    start, end = _offset(data, "start_date", start_date), _offset(data, "end_date", end_date)
    first, last = (-PAST_DAYS, -1) if past else (1, FUTURE_DAYS)
    if end < start:
        raise RefusedError("end_date is before start_date")
    if start < first or end > last:
        what = "historical data" if past else "a forecast"
        raise RefusedError(f"there is {what} only from {data.day(first)} to {data.day(last)}")
    if end - start >= MOST_DAYS:
        raise RefusedError(f"one call gives at most {MOST_DAYS} days")
    return _told(data, kind, city, range(start, end + 1))


def _current(data: Weather, kind: str, latitude: float, longitude: float, current_date: str) -> Result[Weather]:
    city = _city_at(data, latitude, longitude)
    if _offset(data, "current_date", current_date) != 0:
        raise RefusedError(f"current_date must be today's date, not {quoted(current_date)}")
    return _told(data, kind, city, range(1))


def _told(data: Weather, kind: str, city: City, offsets: range) -> Result[Weather]:
    values: tuple[int, ...] = getattr(city, kind)
    days = {data.day(offset): values[offset + PAST_DAYS] for offset in offsets}
    facts: tuple[Fact, ...] = tuple((kind, city.name, day) for day in days)
    return Result({_UNITS[kind]: days}, facts)


_UNITS: Final = {"temp": "temp_c", "rain": "rain_mm", "snow": "snow_cm", "aqi": "aqi"}

_PAST = (get_historical_temp, get_historical_rain, get_historical_snow, get_historical_air_quality_index)
_COMING = (get_temp_forecast, get_rain_forecast, get_snow_forecast)
_NOW = (get_current_temp, get_current_rain, get_current_snow, get_current_air_quality_index)

WEATHER_TOOLS = tool_table(
    (
        get_user_current_date,
        get_user_current_location,
        get_latitude_longitude,
        get_elevation,
        get_distance,
        *_PAST,
        *_COMING,
        *_NOW,
        get_air_quality_level,
    )
)


class WeatherTools(ToolServer[Weather]):
    """What weather calls make sense."""

    name = "weather"
    tools = WEATHER_TOOLS
    handles = frozenset({"today", "home", "place", "aqi"})
    introduction = "The weather tools are ready."

    def make_data(self, difficulty: int, rng: Random) -> Weather:
        """Make up the cities."""
        return make_weather(difficulty, rng)

    def offers(self, assignment: Assignment[Weather], data: Weather, known: frozenset[Fact]) -> Iterator[Call]:
        """Places of the goal's cities; weather of located ones on the days that the goal names, or today."""
        yield Call("get_user_current_date", {})
        yield Call("get_user_current_location", {})
        goal = assignment.draft.goal
        at_home = ("home",) in known
        located = [city for city in data.cities if ("place", city.name) in known]
        for city in data.cities:
            if city.name in goal or (at_home and city.name == data.home):
                yield Call("get_latitude_longitude", {"name": city.name})
        named = [offset for offset in range(-PAST_DAYS, FUTURE_DAYS + 1) if data.day(offset) in goal]
        today = ("today",) in known
        for number, city in enumerate(located):
            where = {"latitude": city.latitude, "longitude": city.longitude}
            yield Call("get_elevation", where)
            for other in located[number + 1 :]:
                there = {"latitude2": other.latitude, "longitude2": other.longitude}
                yield Call("get_distance", {"latitude1": city.latitude, "longitude1": city.longitude, **there})
            past = [offset for offset in named if offset < 0] or ([-3, -1] if today else [])
            coming = [offset for offset in named if offset > 0] or ([1, 3] if today else [])
            for tools, offsets in ((_PAST, past), (_COMING, coming)):
                if offsets:
                    dates = {"start_date": data.day(offsets[0]), "end_date": data.day(offsets[-1])}
                    yield from (Call(tool.__name__, {**where, **dates}) for tool in tools)
            if today or 0 in named:
                yield from (Call(tool.__name__, {**where, "current_date": data.day(0)}) for tool in _NOW)
        for kind, name, day in sorted(fact for fact in known if fact[0] == "aqi"):
            city = next(city for city in data.cities if city.name == name)
            told = getattr(city, kind)[(date.fromisoformat(day) - data.today).days + PAST_DAYS]
            yield Call("get_air_quality_level", {"air_quality_index": told})
