"""`metatoken quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the world and the run.")] = Path("demo"),
    users: Annotated[int, typer.Option(min=50, max=1_000_000, help="Users of the generated world.")] = 600,
    items: Annotated[int, typer.Option(min=36, max=1_000_000, help="Items of the generated world.")] = 200,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Training epochs; by default at most as many as suit the log.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the world and the run.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier quickstart wrote.")] = False,
) -> None:
    """Generate a world of shoppers and run the main job on it: log, tokens, model, metrics, recommendations."""
    from metatoken.cli.output import print_metrics, progress_bar
    from metatoken.data import generate_world
    from metatoken.errors import ConfigError
    from metatoken.recommend import Recommender
    from metatoken.run import evaluate_run, train_run
    from metatoken.run.config import Config

    run = out / "run"
    for taken in (run, out / "world"):
        if taken.exists() and not overwrite:
            raise ConfigError(f"{taken}: exists already; give another folder or --overwrite")
    world = generate_world(n_users=users, n_items=items, seed=seed)
    world.write(out / "world")
    print(f"a world of {users} users and {items} items, written to {out / 'world'}")
    table = {"path": out / "world" / "interactions.csv", "user": "user_id", "item": "item_id", "time": "timestamp"}
    about = {"items": out / "world" / "items.csv", "title": "title", "categories": "categories"}
    config = Config.read({"data": table | about, "trainer": {"max_epochs": epochs}, "seed": seed})
    done = train_run(config, run, overwrite=overwrite, say=lambda line: print(line, flush=True), bar=progress_bar)
    document = evaluate_run(done, bar=progress_bar)
    print_metrics(document["rows"])
    recommender = Recommender(done.module, done.split.log, done.fusion)
    for user in done.split.log.users.raw[:2]:
        seen = done.split.log.sequences()[done.split.log.users.row(user)]
        titles = done.module.vocabulary.titles or list(done.split.log.items.raw)
        print(f"\n{user}, last interactions: {', '.join(titles[item] for item in seen[-3:])}")
        for one in recommender.recommend(user, k=5):
            print(f"  {one.rank}. {one.title} ({one.item}, {one.score:.3f})")
    print(f"\na page about it:\n  metatoken report {run} -o report.html")
    print(f"the same by hand:\n  metatoken evaluate {run}\n  metatoken recommend {run} --user {user} -k 10")
