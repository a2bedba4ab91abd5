"""The report in a real browser; skipped where no Chromium is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metatoken.report import write_report
from tests.conftest import TrainedRun
from tests.serve.browser import Tab, browser_path, chromium
from tests.serve.test_page import CONTRAST

pytestmark = pytest.mark.skipif(browser_path() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def page(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report([trained_run.run.folder], out, resamples=50)
    return out.as_uri()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(Path(tmp_path_factory.mktemp("browser"))) as tab:
        yield tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_can_be_read_and_asks_for_nothing(scheme: str, width: int, tab: Tab, page: str) -> None:
    tab.events.clear()
    tab.shape(width, 900, scheme)
    tab.open(page)
    tab.js("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert tab.js("document.documentElement.scrollWidth") <= width
    assert tab.js("document.querySelectorAll('figure svg').length") == 10
    assert tab.js(CONTRAST) == []
    assert tab.js(SMALL) == []
    assert tab.js(CUT) == []
    assert tab.complaints() == []
    assert set(tab.addresses()) == {page}


# Text in pictures that is shown with letters of less than nine pixels.
SMALL = """[...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return [...svg.querySelectorAll('text')].filter((one) => parseFloat(getComputedStyle(one).fontSize) * scale < 9)
    .map((one) => one.textContent);
})"""

# Text in pictures that reaches out of its figure.
CUT = """[...document.querySelectorAll('figure')].flatMap((figure) => {
  const box = figure.getBoundingClientRect();
  return [...figure.querySelectorAll('svg text')].filter((one) => {
    const own = one.getBoundingClientRect();
    return own.left < box.left - 8 || own.right > box.right + 8;
  }).map((one) => one.textContent);
})"""
