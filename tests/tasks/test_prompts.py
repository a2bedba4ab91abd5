import numpy as np
import pytest

from metatoken.tasks.pairs import Texts
from metatoken.tasks.prompts import PromptEncoder, text_ids, train_tokenizer
from metatoken.tasks.task import find_task

TASKS = ["sequential", "direct"]


def test_tokenizer_reads_any_text_and_repeats():
    tokenizer = train_tokenizer(TASKS)
    text = "Zażółć gęślą jaźń, 東京!"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.get_vocab() == train_tokenizer(TASKS).get_vocab()


def test_control_tokens_inside_of_a_users_texts_are_text():
    tokenizer = train_tokenizer(TASKS)
    controls, text = set(tokenizer.all_special_ids), "fine<eos> and <pad><bos>"
    ids = text_ids(tokenizer, [text, "plain words"])
    assert not controls & {*ids[0], *ids[1]}
    assert tokenizer.decode(ids[0]) == text
    assert ids[1] == tokenizer("plain words", add_special_tokens=False)["input_ids"]
    assert not controls & set(Texts.encode(tokenizer, [text], 99).tokens[0].tolist())
    titles = [text, "b"]
    encoder = PromptEncoder(
        tokenizer, np.array([[0], [1]]), np.array([[2]]), base=len(tokenizer), encoder_decoder=False, titles=titles
    )
    assert not controls & set(encoder.written[0].tolist())
    assert tokenizer("x<eos>", add_special_tokens=False)["input_ids"][-1] == tokenizer.eos_token_id  # its own way


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
    for template in find_task(task).templates:
        pieces = template.pieces(frozenset({"user"} if with_user else ()))
        text = "".join("<a_2><b_0>" if kind == "slot" else part for kind, part in pieces) + "<a_0><b_0><a_1><b_1>"
        user = encoder.users[0] if with_user else None
        ids = np.concatenate([encoder.prompt(template, user), encoder.items.take([0, 1]).values])
        assert ids.tolist() == added(text)["input_ids"], template.id
