# %% [markdown]
# # Embeddings of your own
#
# Tokens can be made from any vectors of the items: an image model, a text model, a factorisation. Then no walk and no
# skip-gram is run, and an item needs no interaction to get its tokens.

# %%
import numpy as np

import metatoken as mt

world = mt.generate_world(n_users=150, n_items=60, n_groups=4, seed=0)
log = world.interactions()
split = mt.leave_last_out(log)

# %% [markdown]
# Stand-ins for your vectors, float32 `[n_items, dim]`: one direction for each group of items, and noise.

# %%
rng = np.random.default_rng(0)
groups = np.arange(log.n_items) % 4
vectors = (np.eye(4, 16)[groups] + 0.3 * rng.normal(size=(log.n_items, 16))).astype(np.float32)

# %% [markdown]
# ## From vectors to codes, without a log
#
# The step alone: a codebook is fitted on some vectors and assigns codes to any, also to those that come later.

# %%
from metatoken.tokens.codes import clustering

codebook = clustering.fit(vectors, levels=[4, 16], seed=0)
codes = codebook.assign(vectors)
print(codes[:3].tolist(), f"{len(np.unique(codes, axis=0))} different codes for {len(codes)} items")

# %% [markdown]
# ## A vocabulary
#
# `Vocabulary.from_embeddings` also makes the codes unique and names the tokens. It knows items only, which is what the
# task `sequential` needs: a user is the history.

# %%
vocabulary = mt.Vocabulary.from_embeddings(log.items.raw, vectors, levels=[4, 32], seed=0)
item = log.items.raw[0]
print(item, vocabulary.tokens_of(item=item))
assert vocabulary.lookup(vocabulary.tokens_of(item=item)) == item

# %% [markdown]
# Do alike items share tokens, and are all tokens used? [Scores](../scores.md) says what the two numbers mean.

# %%
first = np.asarray(vocabulary.item_codes)[:, 0]
print("items per first token:", np.bincount(first).tolist())

# %% [markdown]
# ## Train on them

# %%
import lightning as L

model = mt.MetaTokenModule(vocabulary, preset={"dim": 32}, tasks=["sequential"], max_history=20)
data = mt.TaskDataModule(split, vocabulary, tasks=model.tasks, batch_size=32)
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
L.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(model, data)

for one in mt.Recommender(model, history=log).recommend(log.users.raw[0], k=3):
    print(one.rank, one.item, round(one.score, 3))

# %% [markdown]
# ## Embeddings beside the walks
#
# Often both help: walks know who interacts with what, vectors know what a new item is. Give the vectors as features,
# and each item's own vector gets a learned projection of them ([text vectors](../smollm2.md#using-them)).

# %%
from metatoken.tokens.features import ItemFeatures

ItemFeatures(list(log.items.raw), vectors).save("features")
walked = mt.Vocabulary.fit(split.train, levels=[8, 32], dim=16, seed=0)
both = mt.MetaTokenModule(walked, preset={"dim": 32}, tasks=["sequential"], max_history=20, item_features="features")
print(f"{sum(weights.numel() for weights in both.parameters()):,} weights")
