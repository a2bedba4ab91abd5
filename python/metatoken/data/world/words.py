"""Words of the generated world: product names, reviews, summaries and explanations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Theme:
    """The words of one taste group."""

    name: str
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    aspects: tuple[str, ...]


# Name: adjectives; nouns; aspects.
TABLE = """
Coffee: Dark Smooth Roasted Velvet Morning Copper;
    Espresso Cup, Bean Grinder, Milk Frother, Drip Kettle, Moka Pot, Filter Pack; aroma, crema, heat, grind
Hiking: Rugged Alpine Light Summit Dry Ridge;
    Trail Boots, Rain Shell, Trekking Poles, Day Pack, Wool Socks, Headlamp; grip, weight, fit, seams
Guitar: Vintage Bright Mellow Studio Maple Stage;
    String Set, Strap, Capo, Tube Amp, Pick Box, Cable; tone, tuning, sustain, finish
Baking: Golden Crisp Deep Marble Sweet Nonstick;
    Loaf Pan, Whisk, Rolling Pin, Cake Ring, Flour Sifter, Pastry Brush; crust, size, handle, cleaning
Gardening: Green Sturdy Spring Steel Compact Terracotta;
    Hand Trowel, Seed Tray, Pruner, Watering Can, Plant Pot, Hose Reel; blade, drainage, handle, balance
Skin Care: Gentle Hydrating Pure Silk Calming Aloe;
    Face Cream, Night Serum, Clay Mask, Body Lotion, Toner, Lip Balm; scent, texture, feel, pump
Cycling: Swift Carbon Urban Aero Gravel Reflective;
    Bike Light, Saddle, Chain Lube, Helmet, Handlebar Tape, Tyre Pump; mount, comfort, grip, pressure
Painting: Vivid Matte Fine Artist Acrylic Soft;
    Brush Set, Canvas Board, Colour Tubes, Palette Knife, Easel, Sketch Pad; pigment, bristles, surface, cover
Astronomy: Lunar Wide Stellar Northern Clear Orbit;
    Eyepiece, Star Atlas, Tripod, Red Torch, Lens Filter, Finder Scope; focus, contrast, mount, glass
Chess: Royal Walnut Tournament Folding Weighted Classic;
    Chess Board, Piece Set, Game Clock, Score Book, Travel Case, Opening Guide; wood, felt, hinge, display
"""


def _theme(line: str) -> Theme:
    name, words = line.split(": ")
    adjectives, nouns, aspects = words.split("; ")
    return Theme(
        name, tuple(adjectives.split()), tuple(nouns.split(", ")), tuple(f"the {one}" for one in aspects.split(", "))
    )


THEMES = tuple(_theme(line) for line in TABLE.strip().replace("\n    ", " ").splitlines())
NAMES = (
    "Alderbrook Brightwell Cormorant Dunmore Eastvale Fernhill Glenrock Hartwood Ironleaf Juniper Kestrel Larkfield "
    "Marlowe Northgate Oakhaven Pinecrest Quillon Ravenna Silverton Thornbury Umberline Vantor Westmere Yarrow"
)
BRANDS = NAMES.split()
# Neighbours on a ring share a brand: a title tells a little about what comes next.
BRAND_LENGTH = 6
VERDICTS = {
    1: ("Very disappointed", "I was let down by", "It goes back."),
    2: ("Not great", "I had trouble with", "I would look for another."),
    3: ("It is fine", "I am in two minds about", "It does the job."),
    4: ("Good choice", "I was pleased with", "I would buy it again."),
    5: ("Absolutely love it", "I am delighted by", "I recommend it to everyone."),
}
OPENINGS = ("Used it for a month.", "Bought this last week.", "My second one.", "A gift from a friend.")


class Writer:
    """Writes the texts of a world; the same state of `rng` gives the same words.

    `group` and `place` are int32 `[n_items]`: the theme of each item, and its place on its group's ring.
    """

    def __init__(self, group: NDArray[np.int32], place: NDArray[np.int32], rng: np.random.Generator) -> None:
        self.themes = [THEMES[int(g)] for g in group]
        self.titles: list[str] = []
        self.nouns: list[str] = []
        taken: dict[str, int] = {}
        draws = rng.integers(0, 6, (len(group), 2))
        for theme, g, p, (a, n) in zip(self.themes, group, place, draws, strict=True):
            brand = BRANDS[(int(p) // BRAND_LENGTH + 5 * int(g)) % len(BRANDS)]
            name = f"{brand} {theme.adjectives[a]} {theme.nouns[n]}"
            taken[name] = taken.get(name, 0) + 1
            self.titles.append(name if taken[name] == 1 else f"{name} {taken[name]}")
            self.nouns.append(theme.nouns[n])
        self.categories = [[theme.name, noun] for theme, noun in zip(self.themes, self.nouns, strict=True)]

    def write(
        self,
        items: NDArray[np.int32],
        before: NDArray[np.int32],
        ratings: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> dict[str, list[str]]:
        """`review`, `summary` and `explanation` of each interaction.

        By item row, the user's previous item (-1 for the first) and rating from 1 to 5, integers `[n]`.
        """
        texts: dict[str, list[str]] = {"review": [], "summary": [], "explanation": []}
        draws = rng.integers(0, 4, (len(items), 2))
        for item, last, rating, (opening, aspect) in zip(items, before, ratings, draws, strict=True):
            theme, noun = self.themes[item], self.nouns[item].lower()
            verdict, feeling, close = VERDICTS[int(rating)]
            texts["review"].append(f"{OPENINGS[opening]} {feeling} {theme.aspects[aspect]} of this {noun}. {close}")
            texts["summary"].append(f"{verdict}: {theme.aspects[aspect]}")
            if last < 0:
                why = f"It is a favourite of people who like {theme.name.lower()}"
            elif self.themes[last] is theme:
                why = f"You liked {self.titles[last]}, and this is also for {theme.name.lower()}"
            else:
                why = f"You have begun to look at {theme.name.lower()}"
            texts["explanation"].append(f"{why}, and {theme.aspects[aspect]} stands out.")
        return texts
