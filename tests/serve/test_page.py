"""The page in a real browser, against a real server; skipped where no Chromium is installed."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import uvicorn

from metatoken.data import Catalogue
from metatoken.recommend import Recommender, Request
from metatoken.serve.app import PAGE, create_app
from tests.conftest import TrainedRun
from tests.files import ROOT
from tests.serve.browser import Tab, browser_path, chromium
from tests.serve.conftest import LIMITS

needs_browser = pytest.mark.skipif(browser_path() is None, reason="no Chromium is installed")
EVIL = "<img src=x onerror=\"document.title='pwned'\"> & <b>bold</b>"


@pytest.fixture(scope="module")
def shop(trained_run: TrainedRun) -> Recommender:
    """The run with prices, and one title that tries to be HTML."""
    run = trained_run.run
    prices = [None if row == 3 else row / 2 for row in range(60)]
    titles = [EVIL if row == 5 else title for row, title in enumerate(run.catalogue.titles)]
    extra = {"title": pl.Series(titles), "price": pl.Series(prices), "list price": pl.Series(range(60))}
    catalogue = Catalogue(run.catalogue.items, run.catalogue.frame.with_columns(**extra))
    return Recommender(run.module, run.split.log, run.fusion, catalogue)


@pytest.fixture(scope="module")
def address(shop: Recommender) -> Iterator[str]:
    config = uvicorn.Config(create_app(shop, LIMITS, people=True), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield "".join(["http:", f"//127.0.0.1:{port}/"])
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab, address: str) -> Tab:
    browser.events.clear()
    browser.shape(1200, 900)
    browser.open(address)
    browser.until("document.querySelectorAll('#columns dt').length > 0")
    return browser


def texts(tab: Tab, selector: str) -> list[str]:
    found: list[str] = tab.js(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)")
    return found


def add(tab: Tab, words: str) -> None:
    tab.type("#search", words)
    tab.until("!document.querySelector('#found').hidden")
    tab.press("Enter")


def go(tab: Tab) -> None:
    tab.click("#go")
    tab.until("!document.querySelector('#go').disabled && document.querySelector('#status').textContent !== 'Asking …'")


@needs_browser
def test_from_titles_to_recommendations(tab: Tab, shop: Recommender) -> None:
    items, titles = shop.catalogue.items.raw, shop.catalogue.titles
    assert "60 items, 80 known users" in texts(tab, "#about")[0]
    assert texts(tab, "#columns dt") == ["item", "title", "categories", "price", "`list price`"]
    add(tab, titles[7].upper())
    add(tab, items[9])
    assert texts(tab, "#history span") == [titles[7], titles[9]]
    assert tab.js("document.activeElement.id") == "search"
    tab.type("#k", "4")
    tab.type("#where", "price < 20 or price is null")
    go(tab)
    expected = shop.answer([Request(history=[items[7], items[9]], k=4, where="price < 20 or price is null")])[0].items
    assert texts(tab, "#list .title") == [f"{one.title} {one.item}" for one in expected]
    shown = [float(text) for text in texts(tab, "#list .score")]
    assert shown == pytest.approx([one.score for one in expected], rel=0.06, abs=6e-5)
    assert texts(tab, "#status") == ["4 items."]
    tab.click("#history button")
    assert texts(tab, "#history span") == [titles[9]]
    tab.click("#clear")
    assert texts(tab, "#history span") == []
    tab.type("#user", shop.history.users.raw[2])
    go(tab)
    expected = shop.answer([Request(shop.history.users.raw[2], k=4, where="price < 20 or price is null")])[0].items
    assert texts(tab, "#list .title") == [f"{one.title} {one.item}" for one in expected]
    assert tab.complaints() == []


@needs_browser
def test_what_is_known_of_items_and_users(tab: Tab, shop: Recommender) -> None:
    user = shop.history.users.raw[2]
    tab.type("#user", user)
    tab.until("document.querySelectorAll('#users option').length === 1")
    tab.press("Tab")
    tab.until("!document.querySelector('#taken').hidden")
    titles = [shop.catalogue.titles[row] for row in shop.history.sequences()[2]]
    assert texts(tab, "#took li") == titles[-8:]
    # The numbers of a long history have any number of digits, which must not reach out of the panel.
    assert tab.js("getComputedStyle(document.querySelector('#took')).listStylePosition") == "inside"
    go(tab)
    best = shop.recommend(user, k=1)[0]
    tab.click("#list summary")
    tab.until("document.querySelectorAll('#list dt').length > 0")
    row = shop.catalogue.items.row(best.item)
    told = dict(zip(texts(tab, "#list dt"), texts(tab, "#list dd"), strict=True))
    assert told["tokens"] == shop.module.vocabulary.tokens_of(item=best.item)
    assert told["list price"] == str(row)
    assert not tab.js("document.querySelector('#list .about button') !== null"), "the run has no explanations"
    assert tab.js(CONTRAST) == []
    assert tab.complaints() == []


@needs_browser
def test_the_search_by_keyboard(tab: Tab, shop: Recommender) -> None:
    tab.type("#search", "p00")
    tab.until("document.querySelectorAll('#found [role=option]').length === 12")
    chosen = "document.querySelector('#found [aria-selected=true]').id"
    assert tab.js(chosen) == "found-0"
    tab.press("ArrowDown")
    assert tab.js(chosen) == "found-1"
    assert tab.js("document.querySelector('#search').getAttribute('aria-activedescendant')") == "found-1"
    tab.press("ArrowUp")
    tab.press("ArrowUp")
    assert tab.js(chosen) == "found-11"
    tab.press("Escape")
    assert tab.js("document.querySelector('#found').hidden")
    tab.press("Enter")  # nothing is open, so nothing is added and nothing is sent
    assert texts(tab, "#history span") == []
    assert texts(tab, "#status") == ["Nothing asked yet."]
    tab.type("#search", "no such words")
    tab.until("document.querySelector('#found').textContent.includes('No item')")
    tab.press("Enter")
    assert texts(tab, "#history span") == []
    tab.type("#search", shop.catalogue.items.raw[4])
    tab.until("document.querySelectorAll('#found [role=option]').length === 1")
    tab.click("#found li")
    assert texts(tab, "#history span") == [shop.catalogue.titles[4]]


@needs_browser
def test_errors_are_shown_where_they_are(tab: Tab) -> None:
    tab.type("#where", "price < 3 and colour = 'red'")
    go(tab)
    assert texts(tab, "#error") == ["Filter, character 22: unexpected '='; equality is written =="]
    assert texts(tab, "#where-error") == [f"price < 3 and colour = 'red'\n{' ' * 21}^"]
    assert tab.js("document.querySelector('#where').getAttribute('aria-invalid')") == "true"
    tab.type("#where", "price < 0")
    go(tab)
    assert tab.js("document.querySelector('#error').hidden")
    assert tab.js("document.querySelector('#where-error').hidden")
    assert texts(tab, "#status") == ["No item is allowed by this filter."]
    tab.type("#where", "")
    tab.type("#k", "41")
    go(tab)
    assert texts(tab, "#error") == ["k: expected at most 40, got 41"]
    tab.type("#k", "3")
    tab.type("#user", "nobody")
    go(tab)
    assert "nobody" in texts(tab, "#error")[0]
    assert texts(tab, "#list li") == []


@needs_browser
def test_titles_are_text_and_nothing_comes_from_elsewhere(tab: Tab, address: str, shop: Recommender) -> None:
    add(tab, "onerror")
    assert texts(tab, "#history span") == [EVIL]
    tab.click("#seen")
    tab.type("#where", f'item == "{shop.catalogue.items.raw[5]}"')
    go(tab)
    assert texts(tab, "#list .title") == [f"{EVIL} {shop.catalogue.items.raw[5]}"]
    assert tab.js("document.title") == "metatoken: try the recommender"
    assert tab.js("document.querySelectorAll('img').length") == 0
    assert all(one.startswith((address, "data:,")) for one in tab.addresses())
    assert tab.js("fetch('data:text/plain,x').then(() => 'came', () => 'refused')") == "refused"  # the policy holds


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 700, 1400])
def test_it_fits_and_can_be_read(scheme: str, width: int, tab: Tab, shop: Recommender) -> None:
    tab.shape(width, 800, scheme)
    add(tab, shop.catalogue.titles[7])
    tab.type("#where", "price < 'x" + "y" * 60)
    go(tab)
    tab.js("document.querySelector('details').open = true")
    assert tab.js("document.documentElement.scrollWidth") <= width
    tab.type("#where", "")
    go(tab)
    assert tab.js("document.documentElement.scrollWidth") <= width
    assert tab.js("document.querySelector('#results').getBoundingClientRect().top") < 800  # in view after asking
    assert tab.js(CONTRAST) == []


# Text whose contrast with the ground behind it is below 4.5 (WCAG AA); the colours of the page are opaque.
CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.body.querySelectorAll('*')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color).slice(0, 3)), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([e.tagName, e.textContent.slice(0, 30), (a + 0.05) / (b + 0.05)]);
  }
  return poor;
})()"""


@needs_browser
def test_every_control_has_a_name(tab: Tab) -> None:
    unnamed = """[...document.querySelectorAll('input, select, button, [role]')].filter((e) =>
      !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label')
      && !['status', 'alert'].includes(e.getAttribute('role'))).map((e) => e.outerHTML)"""
    assert tab.js(unnamed) == []
    assert tab.js("document.documentElement.lang") == "en"


def test_the_page_holds_no_foreign_address_and_nothing_inline() -> None:
    folder = ROOT / "python" / "metatoken" / "serve" / "page"
    assert {name for name, _ in PAGE.values()} == {path.name for path in Path(folder).iterdir()}
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "//" not in re.sub(r"(?m)^\s*//.*|\s// .*$", "", text), path
        assert "innerHTML" not in re.sub(r"// .*", "", text)
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?! type=\"module\" src=)|<style| style=| on\w+=", html)
