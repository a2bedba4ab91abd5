"""Draws docs/images/overview.svg, the picture at the top of README: log, tokens, prompt, list.

    python tools/picture.py            # writes it
    python tools/picture.py --check    # exit code 1 if it is not what this script draws

Titles and tokens are those of a run on MovieLens (small) with the configuration that `metatoken inspect` writes. The
picture brings its own background, so it can be read on any page, and follows the reader's choice of dark or light.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "overview.svg"
WIDTH, HEIGHT, TOP, CARD, GAP = 1060, 256, 48, 238, 36  # pixels
LINE = 25  # pixels from one row of text to the next

STYLE = """
  .page { fill: #ffffff } .card { fill: #f5f7fa; stroke: #c9d1dc }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2733 }
  .head { font-size: 15px; font-weight: 600 } .soft { fill: #586474; font-size: 12px }
  .token { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12px }
  .one { fill: #8a3ea8 } .two { fill: #0b6e99 } .arrow { stroke: #586474; fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #12161d } .card { fill: #1c222c; stroke: #3b4554 }
    text { fill: #e4e9f0 } .soft { fill: #a2adbb } .one { fill: #d59bee }
    .two { fill: #6cc5ec } .arrow { stroke: #a2adbb }
  }
"""

SPACE, RING = "one", "two"  # two audiences, each in its color
ITEMS = (
    ("Star Wars", SPACE, "<a_104><b_151>"),
    ("The Empire Strikes Back", SPACE, "<a_104><b_57>"),
    ("The Fellowship of the Ring", RING, "<a_28><b_117>"),
    ("The Two Towers", RING, "<a_28><b_105>"),
)
LOG = (("12", 0), ("12", 1), ("57", 2), ("57", 3))  # user, place in ITEMS
PROMPT = ("Purchases, oldest first;", "name the next item:")
LIST = (("Raiders of the Lost Ark", SPACE), ("Return of the Jedi", SPACE), ("The Matrix", ""))  # with their audience


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """One line of text."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def card(place: int, head: str, foot: str, parts: list[str]) -> list[str]:
    """A card with its heading above and what happens there below; an arrow leads to it from the card before."""
    x = GAP / 2 + place * (CARD + GAP / 2 + 2)
    found = [
        f'<rect class="card" x="{x:g}" y="{TOP}" width="{CARD}" height="166" rx="8"/>',
        text(x + CARD / 2, TOP - 16, head, "head", "middle"),
        text(x + CARD / 2, TOP + 190, foot, "soft", "middle"),
    ]
    if place:
        found.append(f'<path class="arrow" d="M{x - 18:g} {TOP + 83} h14 m-6 -5 l6 5 l-6 5"/>')
    return [*found, f'<g transform="translate({x + 14:g} {TOP})">', *parts, "</g>"]


def log() -> list[str]:
    """Who interacted with what, in order of time."""
    rows = [text(0, 24, "user", "soft"), text(44, 24, "item", "soft")]
    for place, (user, item) in enumerate(LOG, start=2):
        title, kind, _ = ITEMS[item]
        rows += [text(0, LINE * place, user), text(44, LINE * place, title, kind)]
    return [*rows, text(44, LINE * 6, "...", "soft")]


def tokens() -> list[str]:
    """Two tokens for each item; the first one names its audience."""
    rows = []
    for place, (title, kind, name) in enumerate(ITEMS):
        y = 30 + place * 38
        rows += [text(0, y, title, "soft"), text(0, y + 17, name, f"token {kind}")]
    return rows


def prompt() -> list[str]:
    """What the language model reads, and the tree that it may write from."""
    rows = [text(0, 24 + place * 18, words) for place, words in enumerate(PROMPT)]
    rows += [text(0, 62 + place * 18, ITEMS[place][2], "token one") for place in (0, 1)]
    branches = ((-36, "<b_96>"), (0, "<b_105>"), (36, "<b_35>"))
    rows.append(text(0, 127, "<a_104>", "token one"))
    for dy, name in branches:
        rows.append(f'<path class="arrow" d="M58 123 C 86 123 84 {123 + dy * 0.72:g} 112 {123 + dy * 0.72:g}"/>')
        rows.append(text(118, 127 + dy * 0.72, name, "token one"))
    return rows


def ranking() -> list[str]:
    """The list that comes back."""
    rows = [text(0, 24, "for user 12", "soft")]
    return rows + [text(0, 54 + at * 30, f"{at + 1}.  {title}", kind) for at, (title, kind) in enumerate(LIST)]


def picture() -> str:
    """The whole drawing."""
    label = (
        "An interaction log becomes tokens, tokens become a prompt, the model's answer becomes a ranked list of items."
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{label}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
        *card(0, "interaction log", "any CSV, Parquet or database", log()),
        *card(1, "tokens", "walks, skip-gram, hierarchical k-means", tokens()),
        *card(2, "prompt", "language model, decoding along a trie", prompt()),
        *card(3, "ranked list", "existing, unseen items only", ranking()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Writes the picture, or compares it."""
    drawn = picture()
    if "--check" not in sys.argv[1:]:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(drawn, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != drawn:
        sys.exit(f"{TARGET.name} is not what tools/picture.py draws: run it")


if __name__ == "__main__":
    main()
