import numpy as np

from metatoken.tasks.examples import collate
from metatoken.tasks.task import find_template


def test_causal_example_supervises_every_item(make_module):
    module = make_module()
    builder, items = module.builder, np.array([5, 9, 5, 70])
    example = builder.causal(find_template("seq-1"), None, items, 1)
    depth = module.vocabulary.depth
    words = len(example.ids) - depth * len(items)
    assert example.targets.tolist() == [9, 5, 70]
    assert np.flatnonzero(example.items >= 0).tolist() == [words + depth * (j + 1) - 1 for j in range(4)]
    assert example.items[example.items >= 0].tolist() == items.tolist()
    # The token after each state is the target's first.
    first = module.vocabulary.item_tokens[example.targets, 0] + builder.encoder.base
    assert example.ids[example.states + 1].tolist() == first.tolist()


def test_prompt_ends_where_the_training_state_stood(make_module):
    """Reading a history at inference is the beginning of the row that trained its last target."""
    module = make_module()
    items = np.array([5, 9, 33])
    row = module.builder.causal(find_template("seq-2"), None, items, 1)
    prompt = module.builder.prompt(find_template("seq-2"), None, items[:-1])
    assert prompt.ids.tolist() == row.ids[: len(prompt.ids)].tolist()
    assert prompt.states[-1] == row.states[-1]


def test_long_histories_keep_the_newest_items(make_module):
    module = make_module(max_history=3)
    prompt = module.builder.prompt(find_template("seq-1"), None, np.arange(10))
    assert prompt.items[prompt.items >= 0].tolist() == [7, 8, 9]


def test_encoder_prompt_ends_with_the_end_token(make_module):
    module = make_module(backbone="t5-preset", preset={"dim": 32, "layers": 1})
    prompt = module.builder.prompt(find_template("seq-1"), None, np.array([1, 2]), 7)
    assert prompt.ids[-1] == module.tokenizer.eos_token_id
    assert (prompt.states.tolist(), prompt.targets.tolist()) == ([0], [7])


def test_collate_pads_on_the_right(make_module):
    builder = make_module().builder
    examples = [builder.causal(find_template("seq-1"), None, np.arange(n), 1) for n in (2, 4)]
    batch = collate(examples, builder.encoder.pad_id)
    assert batch.input_ids.shape == batch.items.shape == batch.attention_mask.shape
    assert batch.attention_mask.sum(1).tolist() == [len(e.ids) for e in examples]
    assert (batch.input_ids[0][len(examples[0].ids) :] == builder.encoder.pad_id).all()
    assert (batch.items[0][len(examples[0].ids) :] == -1).all()
    assert batch.state_row.tolist() == [0, 1, 1, 1]
    assert batch.targets.tolist() == [1, 1, 2, 3]
