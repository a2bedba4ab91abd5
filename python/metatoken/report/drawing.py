"""Pictures as inline SVG: text stays text, and colors are those of the page, light or dark.

matplotlib draws with stand-ins for colors, which become variables of the page's style sheet. What it writes is parsed,
so that nothing of a title can be taken for markup, and ids get a prefix, since many pictures share a page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, SOFT, LINE = "#000001", "#000002", "#000003"
SERIES = tuple(f"#0000{number}" for number in range(11, 19))  # --c1, --c2, ...
VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line"}
VARIABLES |= {color: f"--c{number}" for number, color in enumerate(SERIES, 1)}
FORBIDDEN = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
WIDTH, HEIGHT = 4.3, 2.9  # inches: on a phone text is then nearly as large as that around it
STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.family": "DejaVu Sans", "font.size": 10,
    "text.color": INK, "axes.labelcolor": SOFT, "axes.edgecolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.labelsize": 10, "legend.fontsize": 9.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.8,
    "axes.axisbelow": True, "legend.frameon": False, "axes.unicode_minus": True, "lines.linewidth": 1.8,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture with its words.

    Attributes:
        svg: The markup.
        title: What it shows.
        caption: How to read it.
    """

    svg: Markup
    title: str
    caption: str


def draw(
    name: str,
    title: str,
    caption: str,
    paint: Callable[[Axes], None],
    *,
    height: float = HEIGHT,
) -> Picture:
    """Draws one picture.

    Args:
        name: Prefix of its ids, different for each picture of a page.
        title: What it shows; also what a screen reader says.
        caption: How to read it.
        paint: Draws into the axes.
        height: In inches.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # whatever a person has set for their own figures
        mpl.rcParams.update(STYLE | {"svg.hashsalt": name})  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph")  # of letters that only the reader's fonts have
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        file = io.StringIO()
        nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    return Picture(inline(file.getvalue(), name, title), title, caption)


def inline(svg: str, prefix: str, title: str) -> Markup:
    """An SVG file as an element of an HTML page.

    Args:
        svg: The file.
        prefix: Of its ids.
        title: Its name for those who cannot see it.
    """
    root = ET.fromstring(svg)  # noqa: S314 (what matplotlib has just written)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for one in root.iter():
        one.tag = _local(one.tag)
        one.attrib = {_local(name): _value(value, prefix) for name, value in one.attrib.items()}
        if "id" in one.attrib:
            one.attrib["id"] = f"{prefix}-{one.attrib['id']}"
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 (escaped by the serializer)


def printable(text: str) -> str:
    """A text of the user's without what neither XML nor HTML may hold: control characters are spelled."""
    return FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _value(value: str, prefix: str) -> str:
    value = re.sub(r"(^#|url\(#)(?!0000\d\d\b)", rf"\g<1>{prefix}-", value)
    return re.sub(r"#0000\d\d", lambda found: f"var({VARIABLES[found[0]]})", value)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
