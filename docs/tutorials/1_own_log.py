# %% [markdown]
# # A log of your own
#
# From a table of who interacted with what to a measured recommender, in Python. The log here is a small generated shop,
# so that this page runs anywhere in seconds; put your own file in its place.

# %%
from pathlib import Path

import metatoken as mt

folder = Path("own-log")
log_file, items_file = mt.generate_world(n_users=150, n_items=60, n_groups=4, seed=0).write(folder)
print(*(line[:60] for line in log_file.read_text().splitlines()[:4]), sep="\n")

# %% [markdown]
# ## Read it
#
# Name the columns; the rest of the file may hold what it likes. `audit` says what would spoil training or measurement.

# %%
log = mt.Interactions.read(log_file, user="user_id", item="item_id", time="timestamp")
print(f"{len(log):,} interactions, {log.n_users} users, {log.n_items} items")
for warning in mt.audit(log).warnings:
    print("-", warning)

# %% [markdown]
# ## Hold out, then make tokens
#
# The last item of each user is kept for the test and the one before it for validation. Everything that learns gets
# `split.train` alone.

# %%
split = mt.leave_last_out(log)
vocabulary = mt.Vocabulary.fit(split.train, levels=[8, 32], dim=16, seed=0)
print(vocabulary.tokens_of(item=log.items.raw[0]), vocabulary.tokens_of(user=log.users.raw[0]))

# %% [markdown]
# Items near each other in the walks share their first token:

# %%
from metatoken.tokens.neighbours import nearest

for one in nearest(vocabulary, "item", log.items.raw[0], k=3):
    print(one.id, one.tokens, round(one.similarity, 2))

# %% [markdown]
# ## Train and measure
#
# `train_run` does the whole job from one configuration and writes a run folder, as `metatoken train` does. Eight
# passes are few; without `max_epochs` the size of the log decides.

# %%
from metatoken.run import evaluate_run, train_run
from metatoken.run.config import Config

config = Config.read(
    {
        "data": {
            "path": str(log_file),
            "user": "user_id",
            "item": "item_id",
            "time": "timestamp",
            "items": str(items_file),
            "title": "title",
        },
        "tokens": {"levels": [8, 32], "dim": 16},
        "model": {"preset": {"dim": 32}, "tasks": ["sequential"]},
        "trainer": {"max_epochs": 8},
    }
)
run = train_run(config, folder / "run")
rows = evaluate_run(run)["rows"]
for row in rows:
    print(f"{row['template']:12} {row['model']:20} HR@10 {row['hr@10']:.3f}  NDCG@10 {row['ndcg@10']:.3f}")

# %% [markdown]
# `fused` is what recommendations come from; `popularity` and `transition_graph` are baselines. What each row is:

# %%
from metatoken.evaluate.legend import legend

for name, meaning in legend(rows):
    print(f"{name}: {meaning}")

# %% [markdown]
# ## Recommend
#
# A known user by id, or anybody by a history, oldest first.

# %%
recommender = mt.Recommender.load(folder / "run")
for one in recommender.recommend(log.users.raw[0], k=3):
    print(one.rank, one.title, round(one.score, 3))
for one in recommender.recommend(history=[log.items.raw[0], log.items.raw[1]], k=3):
    print(one.rank, one.title, round(one.score, 3))

# %% [markdown]
# Next: [running](../running.md) has the same from the command line, [data](../data.md) other formats and splits,
# [evaluation](../evaluation.md) the rules of the measurement.
