from dataclasses import replace

import numpy as np
import pytest

from metatoken.tasks.batch import collate
from metatoken.tasks.examples import WORDS, Example
from metatoken.tasks.task import Template, find_task, find_template
from tests.model.architectures import write_backbone


def test_causal_example_supervises_every_item(make_module):
    module = make_module(history="written")
    builder, items = module.builder, np.array([5, 9, 5, 70])
    example = builder.causal(find_template("seq-1"), None, items, 1)
    depth = module.vocabulary.depth
    words = len(example.ids) - depth * len(items)
    assert example.targets.tolist() == [9, 5, 70]
    assert np.flatnonzero(example.items >= 0).tolist() == [words + depth * (j + 1) - 1 for j in range(4)]
    assert example.items[example.items >= 0].tolist() == items.tolist()
    assert example.answers is None  # all targets are written
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


@pytest.fixture(scope="module")
def titled(vocabulary):
    """The vocabulary with titles of several lengths."""
    return replace(vocabulary, titles=[" ".join(["steel"] * (row % 4)) for row in range(vocabulary.n_items)])


def written_out(example):
    """Ids, items and positions of a row with its words."""
    n = len(example.words)
    return (
        [*example.words.tolist(), *example.ids.tolist()],
        [-1] * n + example.items.tolist(),
        [*range(n), *example.positions.tolist()],
    )


@pytest.mark.parametrize("titles", [False, True])
@pytest.mark.parametrize("with_user", [False, True])
@pytest.mark.parametrize("history", [[5, 9, 33], [7], []])
def test_a_compact_prompt_is_the_beginning_of_the_rows_that_trained_it(make_module, titled, history, with_user, titles):
    module = make_module(titled, titles=titles, max_history=10)
    builder, encoder = module.builder, module.builder.encoder
    assert encoder.compact
    user = encoder.users[3] if with_user else None
    items = np.array([*history, 70])
    first = min(1, len(items) - 1)
    for template in find_task("direct" if with_user and not history else "sequential").templates:
        row = builder.causal(template, user, items, first)
        prompt = builder.prompt(template, user, items[:-1])
        assert prompt.words is row.words  # so that rows of a batch share them
        begun, whole = written_out(prompt), written_out(row)
        for one, other in zip(begun, whole, strict=True):
            assert one == other[: len(one)]
        assert prompt.states[-1] == row.states[-1] == len(prompt.ids) - 1
        # What follows is the answer: all tokens but the last, or with titles all of them and the title.
        answer = encoder.written[70] if titles else encoder.items[70][:-1]
        assert whole[0][len(begun[0]) :] == answer.tolist()
        order = whole[2][len(begun[2]) - 1 :]
        assert order == list(range(order[0], order[0] + len(order)))
        assert row.answers.tolist() == [len(row.targets) - 1]
        assert row.targets.tolist() == items[first:].tolist()
        # Every other target of the row is predicted where a prompt of its own would end.
        for place in range(first, len(items) - 1):
            shorter = builder.prompt(template, user, items[:place])
            assert row.states[place - first] == len(shorter.ids) - 1


def test_a_compact_row_by_hand(make_module, titled):
    module = make_module(titled, titles=True, max_history=10)
    encoder, items = module.builder.encoder, [6, 2, 9]
    row = module.builder.causal(find_template("seq-1"), None, np.array(items), 1)
    begin = len(encoder.prompt(find_template("seq-1"), None)) - len(row.words)
    ids, rows, states, text = [], [-1] * begin, [], []
    for place, item in enumerate(items):
        states.append(begin + len(ids) - 1)
        title = encoder.written[item].tolist()[2:]
        own = encoder.items[item].tolist() if place == 2 else encoder.items[item].tolist()[-1:]
        if place:
            text += range(begin + len(ids) + len(own), begin + len(ids) + len(own) + len(title))
        rows += [-1] * (len(own) - 1) + [item] + [-1] * len(title)
        ids += own + title
    assert row.ids[begin:].tolist() == ids
    assert row.items.tolist() == rows
    assert row.states.tolist() == states[1:]
    assert row.text.tolist() == text
    # The answer, the last item, stands at one position whatever stands before it.
    history = len(ids) - len(encoder.written[items[-1]])
    first = module.builder.answer_at - history
    assert row.positions.tolist()[begin:] == list(range(first, first + len(ids)))


def test_the_newest_item_stands_at_the_same_position_behind_any_template_and_history(make_module):
    module = make_module()
    encoder, templates = module.builder.encoder, find_task("sequential").templates
    words = {len(encoder.prompt(template, None)) for template in templates}
    assert len(words) > 1  # of other lengths, seen and unseen
    assert not all(template.seen for template in templates)
    for template in templates:
        for items in ([33], [5, 9, 33], list(range(20))):
            example = module.builder.prompt(template, None, np.array(items))
            order = example.positions[example.items >= 0].tolist()
            assert order == list(range(WORDS + 20 - len(items), WORDS + 20))
    # Words that reach further push them on, and never share a position with them.
    long = Template("long", "sequential", False, "What comes next after all of these? " * 30)
    example = module.builder.prompt(long, None, np.arange(20))
    assert written_out(example)[2] == list(range(len(example.words) + len(example.ids)))
    assert len(example.words) > WORDS


def test_positions_of_a_pretrained_backbone_follow_the_words(vocabulary, tmp_path):
    from metatoken import MetaTokenModule

    module = MetaTokenModule(vocabulary, backbone=str(write_backbone("gpt2", tmp_path / "gpt2")), max_history=10)
    assert module.builder.encoder.compact
    example = module.builder.prompt(find_template("seq-1"), None, np.array([5, 9]))
    assert written_out(example)[2] == list(range(len(example.words) + len(example.ids)))


def test_rows_of_a_batch_share_words(make_module):
    builder = make_module(user_tokens="prefix").builder
    encoder, items = builder.encoder, np.array([5, 9, 33])
    one, two, plain = find_template("seq-1"), find_template("seq-2"), np.array([1, 2])
    rows = [
        builder.causal(one, None, items, 1),
        builder.causal(two, None, items[:2], 1),
        builder.causal(one, None, items, 2),
        builder.causal(one, encoder.users[0], items, 1),
        builder.causal(one, encoder.users[1], items, 1),
        Example(plain, np.full(2, -1), text=np.array([1])),
    ]
    batch = collate(rows, encoder.pad_id)
    # A prompt with a user begins with the words before the user's tokens.
    assert batch.words_of.tolist() == [0, 1, 0, 2, 2, 3]
    for row, example in enumerate(rows):
        own = batch.words_of[row]
        real = batch.words_mask[own].bool()
        assert batch.words[own][real].tolist() == example.words.tolist()
        whole = np.arange(len(example.ids)) if example.positions is None else example.positions
        assert batch.positions[row][: len(example.ids)].tolist() == whole.tolist()
    assert batch.targets.tolist() == [9, 33, 9, 33, 9, 33, 9, 33]
    assert batch.answers.tolist() == [1, 2, 3, 5, 7]  # the last target of each row
    assert (batch.text_row.tolist(), batch.text_position.tolist(), batch.text_ids.tolist()) == ([5], [0], [2])


def test_a_batch_of_written_rows_has_no_answers_of_its_own(make_module):
    builder = make_module(history="written").builder
    assert collate([builder.causal(find_template("seq-1"), None, np.array([5, 9, 3]), 1)], 0).answers is None
