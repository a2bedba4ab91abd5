import numpy as np
import pytest

from metatoken.errors import ArgumentError
from metatoken.tasks.prompts import (
    TASKS,
    PromptEncoder,
    TokenRows,
    find_template,
    seen_templates,
    templates,
    train_tokenizer,
)


@pytest.mark.parametrize("task", TASKS)
def test_ten_seen_and_one_unseen_template_a_task(task):
    assert len(seen_templates(task)) == 10
    assert [t.seen for t in templates(task)] == [True] * 10 + [False]
    assert len({t.text for t in templates(task)}) == 11


def test_ids_are_unique_over_all_tasks():
    ids = [t.id for task in TASKS for t in templates(task)]
    assert len(set(ids)) == len(ids)
    assert find_template(ids[3]).id == ids[3]
    with pytest.raises(ArgumentError, match="template"):
        find_template("nothing")


def test_optional_part_stands_only_with_a_user():
    template = find_template("seq-1")
    assert template.words(with_user=False) == ("Purchases, oldest first; name the next item:", None)
    before, after = template.words(with_user=True)
    assert before.endswith(" of ")
    assert after.startswith(", oldest")


def test_direct_cannot_do_without_a_user():
    with pytest.raises(ArgumentError, match="user"):
        find_template("direct-1").words(with_user=False)


def test_tokenizer_reads_any_text_and_repeats():
    tokenizer = train_tokenizer(TASKS)
    text = "Zażółć gęślą jaźń, 東京!"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.get_vocab() == train_tokenizer(TASKS).get_vocab()


@pytest.mark.parametrize("with_user", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_spliced_ids_equal_the_tokenizer_on_the_whole_string(task, with_user):
    """Splicing must give what a plain tokenizer with the OOV tokens added gives for the written-out prompt."""
    if task == "direct" and not with_user:
        return
    plain = train_tokenizer(TASKS)
    base = len(plain)
    item_tokens = np.array([[0, 3], [1, 4]])
    user_tokens = np.array([[2, 3]])
    encoder = PromptEncoder(plain, item_tokens, user_tokens, base=base, encoder_decoder=False)
    added = train_tokenizer(TASKS)
    from tokenizers import AddedToken

    names = [f"<a_{i}>" for i in range(3)] + [f"<b_{i}>" for i in range(2)]
    added.add_tokens([AddedToken(name, normalized=False) for name in names])
    for template in templates(task):
        before, after = template.words(with_user)
        text = before + ("" if after is None else "<a_2><b_0>" + after) + "<a_0><b_0><a_1><b_1>"
        user = encoder.users.one(0) if with_user else None
        ids = np.concatenate([encoder.prompt(template, user), encoder.items.many([0, 1])[0]])
        assert ids.tolist() == added(text)["input_ids"], template.id


def test_token_rows_of_ragged_codes():
    rows = TokenRows(np.array([[0, 5, -1], [1, 6, 9], [2, -1, -1]]), base=100)
    ids, ends = rows.many([2, 1, 0])
    assert ids.tolist() == [102, 101, 106, 109, 100, 105]
    assert ends.tolist() == [1, 4, 6]
    assert rows.one(1).tolist() == [101, 106, 109]
    assert [part.tolist() for part in rows.many([])] == [[], []]
