# %% [markdown]
# # A language model of yours
#
# Any causal or encoder-decoder model of Hugging Face can be the backbone, by its name on the hub or by a folder. Here a
# tiny Llama with random weights stands for yours, so nothing is downloaded; with real weights only its path changes.

# %%
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from metatoken.tasks.prompts import train_tokenizer

torch.manual_seed(0)
tokenizer = train_tokenizer(["sequential"])
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained("my-llama")
tokenizer.save_pretrained("my-llama")

# %% [markdown]
# ## Tokens beside its words
#
# The new tokens are a table of their own beside the embedding of the model, which is not resized. With LoRA the model's
# own weights stay as they are; what trains are the adapters, the tokens and the item vectors.

# %%
import metatoken as mt

log = mt.generate_world(n_users=150, n_items=60, n_groups=4, seed=0).interactions()
split = mt.leave_last_out(log)
vocabulary = mt.Vocabulary.fit(split.train, levels=[8, 32], dim=16, seed=0)
model = mt.MetaTokenModule(
    vocabulary, backbone="my-llama", tasks=["sequential"], lora={"r": 8, "lora_alpha": 16}, max_history=20
)
trained = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
print(f"{trained:,} of {sum(weights.numel() for weights in model.parameters()):,} weights train")

# %% [markdown]
# ## What it reads
#
# A prompt is made of the model's own words and the tokens of the history.

# %%
print(vocabulary.tokens_of(item=log.items.raw[0]), "->", len(vocabulary.tokens), "new tokens in all")

# %% [markdown]
# ## Train
#
# Trainer, callbacks and loggers are Lightning's own ([training](../training.md)).

# %%
import lightning as L

data = mt.TaskDataModule(split, vocabulary, tasks=model.tasks, batch_size=32)
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
L.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(model, data)

for one in mt.Recommender(model, history=log).recommend(log.users.raw[0], k=3):
    print(one.rank, one.item, round(one.score, 3))

# %% [markdown]
# ## Give it back to transformers
#
# The export merges LoRA and folds tokens and heads into plain weights: a folder that transformers loads without
# metatoken. `recommend.py` in it recommends ([export](../backbones.md#export)).

# %%
from pathlib import Path

from metatoken.model.store.export import export_model

export_model(model, "exported")
print(sorted(path.name for path in Path("exported").iterdir()))
