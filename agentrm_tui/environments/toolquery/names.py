"""Made-up names for people, films, papers and places, in fixed order."""

from __future__ import annotations

from random import Random

from agentrm_tui.environments.tools.words import words

FIRST_NAMES = words(
    "Ada Bruno Celia Dario Elin Farid Greta Hugo Ines Jonas Kira Leon Mira Nils Olga Pavel Rosa Sven Tara Ugo Vera "
    "Wim Yara Zeno"
)
LAST_NAMES = words(
    "Aldane Brook Corvin Dorn Ekman Falk Gorski Hale Ivers Jarvi Keller Lund Marsh Novak Orsi Pryce Quist Renner "
    "Stroud Tamm Ulric Vance Weller Yates Zorn"
)
FILM_OPENINGS = words(
    "Silent Golden Broken Hidden Burning Distant Frozen Paper Crimson Hollow Last Wild Secret Empty Velvet Iron"
)
FILM_ENDINGS = words("Harbour Garden Witness Letter Mountain Mirror River Crown Station Promise Island Orchard Signal")
PLOTS = (
    "A sailor looks for her brother.",
    "Two rivals share one house.",
    "A clerk finds a lost map.",
    "A village waits for rain.",
    "A thief returns a painting.",
    "An old band plays again.",
)
CHARACTERS = words("Captain Doctor Baker Judge Pilot Teacher Thief Farmer Queen Miner Clerk Singer Guard Nurse")
COMPANIES = ("Northlight", "Bluegate", "Tall Pine", "Red Kite", "Old Mill", "Second Moon", "Wide Angle")
COUNTRIES = words("Norland Estrava Kaldia Maroun Vespera Tolmark Ardenia Sulvia")
LANGUAGES = words("Norlandic Estravan Kaldish Vesperan Tolmarkian Sulvian")
KEYWORDS = words("island revenge family winter music war ship trial dream desert school train")
TOWNS = words("Ostwick Pellan Graymouth Tirna Lowden Fairmarsh Vintry Castell Monrow Hadleigh Skarn Duneby")

TOPICS = words("Graphs Proteins Markets Dialogue Rivers Robots Traffic Sensors Stars Crops Batteries Poems")
METHODS = words("Learning Ranking Sampling Tracing Mapping Pruning Matching Sorting Modelling Grouping")
MANNERS = words("Sparse Robust Causal Fast Lazy Deep Noisy Small Open Shared")
VENUES = words("ASLA CORDIS NEXUS PRISMA VERTEX LUMEN ORBIT")
ORGANISATIONS = ("Norland Institute", "Tirna University", "Skarn Labs", "Castell College", "Lowden Academy")


def people_names(rng: Random, count: int) -> list[str]:
    """Distinct first and last names, so that neither part is shared."""
    firsts, lasts = rng.sample(FIRST_NAMES, count), rng.sample(LAST_NAMES, count)
    return [f"{first} {last}" for first, last in zip(firsts, lasts, strict=True)]
