"""The word lists of the shop: departments, the kinds of product on their shelves, what these can be and come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of product.

    Attributes:
        name: What people call it, at most three words; also the query that belongs to it.
        shelf: The part of the department where it stands.
        attributes: What products of this kind can be, besides the department's attributes.
        details: Ends of a title.
        dollars: Lowest and highest price.
    """

    name: str
    shelf: str
    attributes: tuple[str, ...]
    details: tuple[str, ...]
    dollars: tuple[int, int]


class Department(NamedTuple):
    """A department: attributes that all its kinds can have, options that all its products come in, and the kinds."""

    name: str
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    kinds: tuple[Kind, ...]


def _list(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(","))


def _kind(name: str, shelf: str, attributes: str, details: str, low: int, high: int) -> Kind:
    return Kind(name, shelf, _list(attributes), _list(details), (low, high))


COLORS = _list("black, white, grey, navy blue, red, forest green, beige, pink, purple, brown")
_CLOTHING_SIZES = _list("x-small, small, medium, large, x-large, xx-large")
_PACKS = _list("single, pack of 2, pack of 3, pack of 4, pack of 6, pack of 8, pack of 12")
_OUNCES = _list("1 ounce, 2 ounce, 4 ounce, 6 ounce, 8 ounce, 12 ounce, 16 ounce")
_FLAVORS = _list(
    "vanilla, chocolate, strawberry, peanut butter, cinnamon, lemon, coconut, salted caramel, maple, original"
)
_SCENTS = _list("lavender, rose, citrus, eucalyptus, sandalwood, jasmine, green tea, unscented, honey, mint")

DEPARTMENTS: tuple[Department, ...] = (
    Department(
        "Clothing",
        _list("machine washable, pre shrunk, slim fit, soft touch, quick drying, wrinkle free, lightweight, tag free"),
        {"color": COLORS, "size": _CLOTHING_SIZES},
        (
            _kind("rain jacket", "outerwear", "waterproof, windproof", "with hood, with zip pockets", 35, 110),
            _kind("fleece vest", "outerwear", "double stitched, high collar", "for hiking, with chest pocket", 20, 70),
            _kind("winter coat", "outerwear", "down filled, water repellent", "with belt, with fur collar", 60, 180),
            _kind("polo shirt", "tops", "moisture wicking, button down", "for golf, with logo", 15, 50),
            _kind("hooded sweatshirt", "tops", "fleece lined, drawstring waist", "with front pocket, for gym", 20, 65),
            _kind("linen shirt", "tops", "stone washed, breathable", "for summer, with collar", 22, 60),
            _kind("yoga pants", "bottoms", "high waisted, squat proof", "with side pockets, for running", 18, 55),
            _kind("denim shorts", "bottoms", "hand distressed, mid rise", "with raw hem, for summer", 18, 48),
            _kind("pajama set", "sleepwear", "ultra soft, two piece", "with shorts, for winter", 20, 60),
        ),
    ),
    Department(
        "Beauty",
        _list(
            "cruelty free, paraben free, fragrance free, oil free, "
            "long lasting, alcohol free, plant based, dermatologist tested"
        ),
        {"scent": _SCENTS, "size": _OUNCES},
        (
            _kind("face cream", "skin care", "fast absorbing, anti aging", "with hyaluronic acid, for night", 8, 60),
            _kind("body lotion", "skin care", "deeply hydrating, non greasy", "with shea butter, for dry skin", 6, 30),
            _kind("sun lotion", "skin care", "reef safe, water resistant", "with zinc, for kids", 8, 35),
            _kind("hair mask", "hair care", "color safe, sulfate free", "with argan oil, for curls", 9, 40),
            _kind(
                "dry shampoo", "hair care", "residue free, volume boosting", "for blonde hair, with rice starch", 7, 28
            ),
            _kind("beard balm", "grooming", "hand poured, medium hold", "with beeswax, for travel", 8, 26),
            _kind("shaving gel", "grooming", "low foam, skin calming", "with aloe vera, for men", 5, 20),
            _kind("bath bomb", "bath", "moisture rich, slow fizzing", "with sea salt, for gifts", 6, 32),
            _kind("hand soap", "bath", "pump top, antibacterial", "with refill, for kitchen", 5, 24),
        ),
    ),
    Department(
        "Grocery",
        _list(
            "gluten free, sugar free, non gmo, low sodium, dairy free, high protein, keto friendly, certified organic"
        ),
        {"flavor": _FLAVORS, "size": _PACKS},
        (
            _kind("granola bar", "snacks", "nut free, individually wrapped", "with oats, for school", 5, 30),
            _kind("protein cookie", "snacks", "soft baked, low carb", "with chips, for athletes", 8, 36),
            _kind("rice cracker", "snacks", "air popped, extra crunchy", "with sesame, for dips", 4, 22),
            _kind("ground coffee", "drinks", "dark roasted, fair trade", "for espresso, with chicory", 8, 32),
            _kind("hot cocoa", "drinks", "caffeine free, finely milled", "with marshmallows, for winter", 6, 28),
            _kind("oat milk", "drinks", "shelf stable, extra creamy", "for coffee, with calcium", 5, 25),
            _kind("pancake mix", "baking", "stone ground, just add water", "for waffles, with buckwheat", 5, 24),
            _kind("frosting", "baking", "ready to spread, palm oil free", "for cupcakes, with sprinkles", 4, 18),
            _kind("almond spread", "pantry", "cold pressed, stir free", "with honey, for toast", 7, 26),
        ),
    ),
    Department(
        "Electronics",
        _list(
            "fast charging, energy saving, easy to install, noise cancelling, "
            "ultra thin, dust proof, wireless, travel ready"
        ),
        {"color": COLORS, "style": _list("basic, standard, plus, pro, travel kit, family kit")},
        (
            _kind("bluetooth speaker", "audio", "deep bass, shock proof", "with microphone, for parties", 18, 130),
            _kind("earbuds", "audio", "sweat proof, low latency", "with case, for sport", 15, 140),
            _kind("desk radio", "audio", "battery powered, wide band", "with alarm, for kitchen", 16, 80),
            _kind("phone case", "accessories", "drop tested, anti scratch", "with stand, with card slot", 7, 35),
            _kind("charging cable", "accessories", "nylon braided, tangle free", "with adapter, for cars", 6, 28),
            _kind("power bank", "accessories", "high capacity, airline approved", "with display, for camping", 15, 75),
            _kind("computer mouse", "computing", "silent click, left handed", "with receiver, for gaming", 9, 60),
            _kind("keyboard", "computing", "back lit, hot swappable", "with wrist rest, for tablets", 18, 120),
            _kind("web camera", "computing", "auto focus, wide angle", "with tripod, for streaming", 20, 110),
        ),
    ),
    Department(
        "Home",
        _list(
            "easy clean, stain resistant, space saving, hand woven, "
            "eco friendly, fade resistant, ready to use, non toxic"
        ),
        {"color": COLORS, "size": _list("12 inch, 16 inch, 20 inch, 24 inch, 30 inch, 36 inch")},
        (
            _kind("throw pillow", "bedding", "super plush, hypoallergenic", "with tassels, for sofa", 10, 45),
            _kind("weighted blanket", "bedding", "glass bead filled, cooling", "with cover, for adults", 30, 120),
            _kind("bath rug", "bath", "rubber backed, highly absorbent", "with fringe, for shower", 12, 50),
            _kind("shower curtain", "bath", "mildew proof, heavy duty", "with hooks, with magnets", 10, 42),
            _kind("table lamp", "lighting", "dimmable, touch controlled", "with linen shade, for bedroom", 18, 95),
            _kind("string lights", "lighting", "solar powered, shatter proof", "with remote, for patio", 9, 40),
            _kind("wall clock", "decor", "silent moving, hand painted", "with numerals, for office", 12, 70),
            _kind("picture frame", "decor", "wall mounted, solid wood", "with mat, for posters", 8, 45),
            _kind("storage basket", "storage", "stackable, foldable", "with lid, for toys", 10, 48),
        ),
    ),
    Department(
        "Toys",
        _list(
            "bpa free, battery free, splash proof, screen free, award winning, smooth edged, giftable, classroom sized"
        ),
        {"color": COLORS, "size": _list("10 pieces, 24 pieces, 50 pieces, 100 pieces, 200 pieces, 500 pieces")},
        (
            _kind("building blocks", "construction", "snap together, chunky", "with wheels, for toddlers", 10, 60),
            _kind("marble run", "construction", "see through, glow in dark", "with bell, for families", 15, 70),
            _kind("wooden train", "vehicles", "hand carved, magnetic", "with bridge, for toddlers", 14, 65),
            _kind("race car", "vehicles", "pull back, extra fast", "with ramp, for boys", 6, 38),
            _kind("jigsaw puzzle", "games", "thick cut, double sided", "with poster, for adults", 8, 36),
            _kind("memory game", "games", "pocket sized, multilingual", "with animals, for families", 7, 28),
            _kind("plush bear", "soft toys", "huggable, embroidered", "with ribbon, for babies", 9, 45),
            _kind("hand puppet", "soft toys", "expressive, full bodied", "with moving mouth, for theater", 8, 34),
            _kind("modeling clay", "crafts", "air drying, never sticky", "with tools, for beginners", 6, 30),
        ),
    ),
    Department(
        "Sports",
        _list(
            "anti slip, sweat resistant, adjustable, compact, odor free, heavy weight, impact absorbing, all weather"
        ),
        {"color": COLORS, "level": _list("beginner, intermediate, advanced, youth, team")},
        (
            _kind("yoga mat", "fitness", "extra thick, latex free", "with strap, for pilates", 14, 70),
            _kind("jump rope", "fitness", "ball bearing, steel wired", "with counter, for boxing", 6, 30),
            _kind("dumbbell set", "fitness", "neoprene coated, hexagonal", "with rack, for women", 20, 120),
            _kind("water bottle", "outdoor", "leak proof, vacuum insulated", "with straw, for cycling", 9, 45),
            _kind("camping tent", "outdoor", "self standing, double walled", "with porch, for backpacking", 50, 190),
            _kind("sleeping bag", "outdoor", "cold weather, mummy shaped", "with hood, for scouts", 25, 110),
            _kind("soccer ball", "ball games", "machine stitched, match grade", "with pump, for grass", 10, 50),
            _kind("tennis racket", "ball games", "graphite framed, pre strung", "with cover, for juniors", 20, 130),
            _kind("swim goggles", "swimming", "anti fog, uv protected", "with nose clip, for triathlon", 8, 38),
        ),
    ),
    Department(
        "Pets",
        _list(
            "grain free, vet approved, chew resistant, no artificial colors, "
            "small breed, senior friendly, american made, soy free"
        ),
        {"flavor": _list("chicken, beef, salmon, duck, turkey, lamb, pumpkin, bacon"), "size": _PACKS},
        (
            _kind("dog biscuit", "dog treats", "oven baked, teeth cleaning", "with mint, for puppies", 5, 28),
            _kind("dog jerky", "dog treats", "slow dried, single ingredient", "for training, with collagen", 7, 36),
            _kind("dental stick", "dog treats", "tartar reducing, easy digest", "for large dogs, with parsley", 6, 30),
            _kind("cat pate", "cat food", "hairball control, extra moist", "in gravy, for kittens", 8, 40),
            _kind("cat kibble", "cat food", "indoor formula, freeze dried", "with taurine, for adults", 12, 60),
            _kind("cat puree", "cat food", "lickable, high moisture", "with catnip, for picky eaters", 6, 26),
            _kind("chew bone", "chews", "splinter free, rawhide free", "for aggressive chewers, with marrow", 6, 32),
            _kind("bully stick", "chews", "odor controlled, grass fed", "for terriers, with holder", 10, 48),
            _kind("ferret snack", "small animals", "bite sized, twice baked", "with egg, for bonding", 5, 22),
        ),
    ),
    Department(
        "Shoes",
        _list(
            "slip on, arch supporting, memory foam, steel toe, vegan leather, shock absorbing, wide toe, rubber sole"
        ),
        {"color": COLORS, "size": _list("6, 7, 8, 9, 10, 11, 12"), "width": _list("narrow, regular, wide")},
        (
            _kind("running shoes", "athletic", "featherlight, reflective", "for trails, with gel cushion", 35, 140),
            _kind("tennis shoes", "athletic", "non marking, stable heel", "for clay, with mesh", 35, 130),
            _kind("walking shoes", "athletic", "all day comfort, zip closing", "for nurses, with insoles", 30, 110),
            _kind("hiking boots", "boots", "ankle high, mud shedding", "with laces, for mountains", 50, 170),
            _kind("rain boots", "boots", "seam sealed, pull on", "for gardening, with handles", 20, 70),
            _kind("snow boots", "boots", "insulated, deep tread", "with faux fur, for kids", 35, 120),
            _kind("flip flops", "sandals", "quick rinse, soft footbed", "for beach, with straps", 8, 40),
            _kind("leather sandals", "sandals", "open toe, hand sewn", "with buckle, for weddings", 22, 85),
            _kind("house slippers", "slippers", "fuzzy, indoor outdoor", "with bow, for grandpa", 12, 45),
        ),
    ),
    Department(
        "Office",
        _list("acid free, smudge proof, refillable, recycled, quick dry, tear resistant, teacher approved, archival"),
        {"color": COLORS, "size": _list("1 count, 5 count, 10 count, 20 count, 40 count, 100 count")},
        (
            _kind("gel pen", "writing", "retractable, needle tipped", "with grip, for journals", 4, 24),
            _kind("highlighter", "writing", "pastel toned, chisel tipped", "for bibles, with clip", 4, 20),
            _kind("spiral notebook", "paper", "college ruled, hard covered", "with pockets, for students", 5, 28),
            _kind("sticky notes", "paper", "super sticky, lined", "with dispenser, for planning", 4, 22),
            _kind("gift cards", "paper", "blank inside, foil stamped", "with envelopes, for thanks", 6, 30),
            _kind("desk organizer", "storage", "self assembly, mesh walled", "with drawer, for dorm", 10, 55),
            _kind("file folder", "storage", "letter sized, expanding", "with tabs, for taxes", 5, 30),
            _kind("mouse pad", "desk", "wrist supporting, stitched edge", "for gaming, with prints", 6, 32),
            _kind("book stand", "desk", "height adjusting, page holding", "for recipes, with lights", 9, 42),
        ),
    ),
    Department(
        "Garden",
        _list(
            "rust proof, frost resistant, uv stable, biodegradable, "
            "child safe, tool free, low maintenance, self watering"
        ),
        {"color": COLORS, "size": _list("4 inch, 6 inch, 8 inch, 10 inch, 14 inch, 18 inch")},
        (
            _kind("flower pot", "planting", "glazed, drainage ready", "with saucer, for orchids", 8, 50),
            _kind("hanging planter", "planting", "macrame style, coco lined", "with hook, for ferns", 10, 45),
            _kind("raised bed", "planting", "cedar framed, waist high", "with legs, for herbs", 30, 150),
            _kind("garden trowel", "tools", "ergonomic, depth marked", "with sheath, for bulbs", 6, 30),
            _kind("pruning shears", "tools", "spring loaded, titanium coated", "with lock, for roses", 10, 55),
            _kind("garden hose", "watering", "kink free, expandable", "with nozzle, for lawns", 15, 75),
            _kind("watering can", "watering", "long spouted, galvanized", "with rose, for bonsai", 9, 42),
            _kind("bird feeder", "wildlife", "squirrel proof, window mounted", "with tray, for finches", 10, 60),
            _kind("wind chime", "decor", "deep toned, hand tuned", "with birds, for porch", 12, 65),
        ),
    ),
    Department(
        "Jewelry",
        _list("nickel free, tarnish resistant, hand made, gift boxed, conflict free, water safe, minimalist, engraved"),
        {
            "metal": _list("silver, gold, platinum, copper, titanium, brass"),
            "stone": _list("pearl, ruby, opal, topaz, jade, onyx"),
        },
        (
            _kind("pendant necklace", "necklaces", "layered, adjustable chain", "with locket, for mothers", 12, 110),
            _kind("choker", "necklaces", "velvet banded, vintage", "with charm, for teens", 8, 50),
            _kind("hoop earrings", "earrings", "featherweight, click closing", "for sleeping, with beads", 8, 70),
            _kind("stud earrings", "earrings", "screw backed, tiny", "for cartilage, with halo", 8, 90),
            _kind("drop earrings", "earrings", "art deco, clip on", "for brides, with tassel", 10, 85),
            _kind("tennis bracelet", "bracelets", "double clasped, sparkling", "for proms, with extender", 15, 140),
            _kind("beaded bracelet", "bracelets", "stretchy, stacking", "for men, with cross", 7, 40),
            _kind("signet ring", "rings", "comfort fit, wide banded", "with initials, for dads", 12, 95),
            _kind("anklet", "foot jewelry", "beach proof, braided", "with shells, for summer", 6, 35),
        ),
    ),
)
"""All departments; a small shop has the first few of them."""

BRAND_HEADS = _list(
    "Kes, Lum, Vor, Tal, Bri, Nor, Zan, Mel, Ost, Fen, Gal, Har, Ilm, Jun, Pel, Quo, Ras, Sel, Umb, Wex"
)
BRAND_TAILS = _list("tro, ina, dale, vik, ora, bury, mont, elle, ix, owen, stad, aro, lyn, quist, eva, hart")
"""Brands are a head and a tail: 320 of them."""

PRAISE = _list(
    "Better than I hoped, My family loves it, Exactly as pictured, Worth the money, Arrived on time, Would buy again"
)
DOUBTS = _list(
    "A bit smaller than expected, The box was dented, Took two weeks, Instructions were thin, Fine but nothing special"
)
"""Sentences of reviews."""
