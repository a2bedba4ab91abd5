"""What tests/newcomer.sh compares with: values counted from the files by Python's own csv module.

python newcomer.py CHECK FILES...
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metatoken.data import Split

Row = dict[str, str]
ODD = {"emoji😀373", "c,523", 'x"390"'}  # the history that newcomer.sh asks with


def rows_of(path: str, encoding: str = "utf-8", separator: str = ",") -> list[Row]:
    with Path(path).open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def histories(rows: list[Row]) -> dict[str, list[str]]:
    """Products of each customer, oldest first; no two rows of one have the same time."""
    found = defaultdict(list)
    for row in sorted(rows, key=lambda row: datetime.fromisoformat(row["when"])):
        found[row["customer"].strip()].append(row["product"].strip())
    return dict(found)


def same(what: str, found: object, expected: object) -> None:
    if found != expected:
        sys.exit(f"newcomer: {what}: expected {expected!r}, got {found!r}")


def quickstart(printed: str) -> None:
    text = Path(printed).read_text(encoding="utf-8")
    same("size of the generated world", re.findall(r"a world of (\d+) users and (\d+) items", text), [("60", "40")])
    same("lists of two users", len(re.findall(r"^  5\. ", text, flags=re.MULTILINE)), 2)


def looked(path: str, log: str) -> None:
    """What `inspect --json` said of the log."""
    said, rows = json.loads(Path(path).read_text(encoding="utf-8")), rows_of(log)
    columns = {"user": "customer", "item": "product", "time": "when", "rating": "stars"}
    columns |= {"items": "products.csv", "item_id": "product_id", "categories": "category"}
    same("columns", {name: said["data"].get(name) for name in columns}, columns)
    facts, known = said["facts"], histories(rows)
    same("rows, users, items", [facts[name] for name in ("rows", "users", "items")],
         [len(rows), len(known), len({row["product"].strip() for row in rows})])  # fmt: skip
    rated = [float(row["stars"]) for row in rows if row["stars"]]
    same("rated rows", facts["ratings"].split(" rows")[0], f"{len(rated):,}")
    same("mean of the ratings", facts["ratings"].split("mean ")[1], f"{sum(rated) / len(rated):.2f}")
    for event in ("buy", "view"):
        count = sum(row["event"] == event for row in rows)
        same(f"events {event}", f"{event} {count:,}" in facts["events"], True)
    first, last = (choose(row["when"] for row in rows)[:10] for choose in (min, max))
    same("period", facts["period"].split(" (")[0], f"{first} to {last}")


def near(printed: str, log: str) -> None:
    """Neighbours of an item, which are other items of the log."""
    head, *lines = Path(printed).read_text(encoding="utf-8").splitlines()
    same("the item asked about", head.startswith("item c,523  <a_"), True)
    items = {row["product"].strip() for row in rows_of(log)} - {"c,523"}
    found = [line.split("  ")[2] for line in lines]
    same("neighbours", (len(found), set(found) <= items), (10, True))


def latin(text: str) -> str:
    """A text with what Latin-1 lacks spelled out."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


def split_of(folder: str) -> Split:
    """What a run learned from and what it held out, as its commands read it."""
    from metatoken import Vocabulary
    from metatoken.data.split import hold_out
    from metatoken.run import RunFolder

    at = RunFolder(folder)
    config, vocabulary = at.load_config(), Vocabulary.load(at.vocabulary)
    split = hold_out(at.read_history(vocabulary), config.needs, config.seed, config.data.split)
    same("what its tokens were learned from", split.train.edges_checksum(), vocabulary.learned_from)
    return split


def run(folder: str, log: str, how: str = "") -> None:
    """The items that a run held out, and its metrics, recomputed."""
    split, known = split_of(folder), histories(rows_of(log))
    if how == "translated":
        known = {latin(user): [latin(item) for item in items] for user, items in known.items()}
    users, items = split.log.users.raw, split.log.items.raw
    same("users and items", (len(users), len(items)), (len(known), len({one for row in known.values() for one in row})))
    for part, back in (("test", 1), ("validation", 2)):
        targets = split.targets(part)  # type: ignore[arg-type]
        held = {users[user]: items[item] for user, item in zip(targets.users, targets.items, strict=True)}
        same(f"items held out for {part}", held, {u: one[-back] for u, one in known.items() if len(one) > 2})
    for user, row in zip(users, split.train.sequences(), strict=True):
        kept = known[user][:-2] if len(known[user]) > 2 else known[user]
        if split.pairs is None:
            same(f"training items of {user}", [items[one] for one in row], kept)
    if (Path(folder) / "metrics.json").exists():
        metrics(Path(folder), known)


def metrics(folder: Path, known: dict[str, list[str]]) -> None:
    """HR@10 and NDCG@10 of the served list from the predictions alone."""
    import polars as pl

    said = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    row = next(one for one in said["rows"] if one["model"] == "fused")
    lists = pl.read_parquet(folder / "predictions.parquet").filter(
        (pl.col("model") == "fused") & (pl.col("template") == row["template"]) & (pl.col("rank") <= 10)
    )
    truth = {user: items[-1] for user, items in known.items() if len(items) > 2}
    ranks = [rank for user, rank, item in lists.select("user", "rank", "item").iter_rows() if truth[user] == item]
    same("users evaluated", row["users"], len(truth))
    same("HR@10", round(row["hr@10"], 4), round(len(ranks) / len(truth), 4))
    same("NDCG@10", round(row["ndcg@10"], 4), round(sum(1 / math.log2(rank + 1) for rank in ranks) / len(truth), 4))


def lists(path: str, log: str, products: str, asked: str) -> None:
    """Lists by file: five a user, none seen, each as the filter wants it, with its title."""
    known, about = histories(rows_of(log)), {row["product_id"]: row for row in rows_of(products)}
    found = defaultdict(list)
    for row in rows_of(path):
        found[row["user"]].append(row["item"])
        same(f"title of {row['item']}", row["title"], about[row["item"]]["title"])
        fits = about[row["item"]]["in_stock"] == "true" and 0 < float(about[row["item"]]["price"] or 99) < 50
        same(f"{row['item']} passes the filter", fits, True)
    for row in rows_of(asked):
        items = found.pop(row["user"])
        seen = set(json.loads(row["history"]) if row["history"] else known[row["user"]])
        same(f"list of {row['user']}", (len(set(items)), seen & set(items)), (5, set()))
    same("users that nobody asked for", dict(found), {})


def anybody(printed: str, log: str, products: str) -> None:
    """The list of a history with odd ids."""
    head, *lines = Path(printed).read_text(encoding="utf-8").splitlines()
    titles = {row["product_id"]: row["title"] for row in rows_of(products)}
    items = {row["product"].strip() for row in rows_of(log)}
    found = [line.split("  ")[-2:] for line in lines]
    same("who is asked for", head, "(history):")
    same("their titles", [title for _, title in found], [titles[item] for item, _ in found])
    same("items that are new", (len(found), {item for item, _ in found} <= items - ODD), (3, True))


def write_rows(rows: list[Row], out: str) -> None:
    with Path(out).open("w", encoding="latin-1", errors="backslashreplace", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=";")
        table.writeheader()
        table.writerows(rows)


def translate(log: str, products: str, out: str, wares: str) -> None:
    """The log and its products as another country writes them; every second rating is left out."""
    rows, rated = rows_of(log), 0
    for row in rows:
        row["when"] = datetime.fromisoformat(row["when"]).strftime("%d-%m-%Y %H:%M:%S")
        rated += row["stars"] != ""
        if rated % 2 == 0:
            row["stars"] = ""
    write_rows(rows, out)
    write_rows([row | {"price": row["price"].replace(".", ",")} for row in rows_of(products)], wares)


def understood(config: str) -> None:
    """The form of that file as `inspect --write` found it."""
    import yaml

    data = yaml.safe_load(Path(config).read_text(encoding="utf-8"))["data"]
    expected = {"separator": ";", "time_format": "%d-%m-%Y %H:%M:%S", "rating": "stars", "item_id": "product_id"}
    same("its form", {name: data.get(name) for name in expected}, expected)
    same("its encoding", data["encoding"] in ("latin-1", "cp1252"), True)


def ratings(folder: str, log: str) -> None:
    """How many ratings there were to learn from, and where they stand."""
    log_read = split_of(folder).log
    frame = log_read.frame.filter(log_read.frame["rating"].is_not_null())
    users, items = log_read.users.column(frame["user"]), log_read.items.column(frame["item"])
    found = sorted(zip(users, items, frame["rating"].to_list(), strict=True))
    rows = rows_of(log, "latin-1", ";")
    same("ratings", found, sorted((r["customer"], r["product"], float(r["stars"])) for r in rows if r["stars"]))


def prices(folder: str, products: str) -> None:
    """Prices of the items of a run, which other files have as text with a comma."""
    from metatoken import Vocabulary
    from metatoken.data.catalogue import Catalogue
    from metatoken.run import RunFolder

    at = RunFolder(folder)
    frame = Catalogue.load(at.items, Vocabulary.load(at.vocabulary).items).frame
    found, known = dict(frame.select("item", "price").drop_nulls().iter_rows()), set(frame["item"])
    rows = [(latin(row["product_id"]), row["price"]) for row in rows_of(products) if row["price"]]
    same("prices", found, {item: float(price) for item, price in rows if item in known})


def fern(folder: str, log: str, products: str, translated: str) -> None:
    """All that a run on the translated files holds."""
    run(folder, log, "translated")
    ratings(folder, translated)
    prices(folder, products)


def stars(printed: str) -> None:
    same("a rating", 1 <= float(Path(printed).read_text(encoding="utf-8")) <= 5, True)


if __name__ == "__main__":
    checks = (quickstart, looked, near, run, lists, anybody, translate, understood, fern, stars)
    {one.__name__: one for one in checks}[sys.argv[1]](*sys.argv[2:])
