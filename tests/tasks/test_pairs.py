from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.data import Interactions
from metatoken.errors import ArgumentError
from metatoken.tasks.batch import Batch, collate
from metatoken.tasks.pairs import Pairs, Texts
from metatoken.tasks.prompts import PromptEncoder, train_tokenizer
from metatoken.tasks.questions import QuestionEncoder
from metatoken.tasks.rating import RatingRows
from metatoken.tasks.task import known_tasks
from metatoken.tasks.text import WritingRows

LONG = "so good that words fail me and then some more"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(["sequential"], [LONG, "fine", "bad"])


@pytest.fixture(scope="module")
def log() -> Interactions:
    frame = pl.DataFrame(
        {
            "user": ["a", "a", "b", "b"],
            "item": ["x", "y", "x", "z"],
            "stars": [5.0, 3.0, 1.0, 4.0],
            "text": [LONG, "fine", "  ", "bad \u00e9\u4f60"],
            "head": ["good", "ok", "no", ""],
        }
    )
    items = pl.DataFrame({"item": ["x", "y"], "title": ["Xylophone", ""]})
    return Interactions.from_frame(
        frame, user="user", item="item", rating="stars", review="text", summary="head", items=items
    )


def encoder_of(tokenizer: Any, *, encoder_decoder: bool) -> PromptEncoder:
    items = np.array([[0, 1], [0, 2], [3, -1]])
    users = np.array([[4, 5], [4, 6]])
    return PromptEncoder(tokenizer, items, users, base=len(tokenizer), encoder_decoder=encoder_decoder)


@pytest.fixture(scope="module")
def encoder(tokenizer: Any) -> PromptEncoder:
    return encoder_of(tokenizer, encoder_decoder=False)


def test_rows_without_a_needed_text_are_left_out(log: Interactions, tokenizer: Any) -> None:
    known = known_tasks()
    assert len(Pairs.of(known["rating"], log, tokenizer, 8)) == 4
    assert len(Pairs.of(known["review_rating"], log, tokenizer, 8)) == 3
    rows = Pairs.of(known["review_summary"], log, tokenizer, 8)
    assert rows.written["summary"] == ("good", "ok")
    assert rows.users.tolist() == [0, 0]
    assert rows.slots(0).keys() == {"title", "review", "rating"}
    assert rows.slots(1).keys() == {"review", "rating"}


def test_texts_are_cut_and_say_so(tokenizer: Any) -> None:
    texts = Texts.encode(tokenizer, [LONG, "", "fine", LONG], 4)
    assert texts.tokens.lengths.tolist() == [4, 0, len(tokenizer(" fine")["input_ids"]), 4]
    assert texts.cut.tolist() == [True, False, False, True]
    assert tokenizer.decode(texts.tokens[0]) == tokenizer.decode(tokenizer(f" {LONG}")["input_ids"][:4])
    assert [row.tolist() for row in texts.take(np.array([2, 0])).tokens] == [
        texts.tokens[2].tolist(),
        texts.tokens[0].tolist(),
    ]


def test_a_question_is_its_words_with_tokens_in_place(
    log: Interactions, tokenizer: Any, encoder: PromptEncoder
) -> None:
    """Against plain strings: OOV tokens stand for themselves, everything else decodes to the text."""
    rows = Pairs.of(known_tasks()["review_summary"], log, tokenizer, 99)
    ids, items = QuestionEncoder(encoder).question(rows, 0, rows.task.templates[0])
    base = encoder.base
    shown = "".join(f"<{token - base}>" if token >= base else tokenizer.decode([token]) for token in ids.tolist())
    assert shown == f"<4><5> on<0><1>: {LONG} Summary:"
    assert items[ids == base + 1].tolist() == [0]
    assert (items >= 0).sum() == 1


@pytest.fixture(scope="module")
def featured() -> Interactions:
    frame = pl.DataFrame(
        {"user": ["a", "b"], "item": ["x", "y"], "why": ["fine", "bad"], "words": ["good words", ""], "n": [0, 0]}
    )
    return Interactions.from_frame(frame, explanation="why", feature="words")


def shown(ids: np.ndarray, tokenizer: Any, base: int) -> str:
    return "".join(f"<{token - base}>" if token >= base else tokenizer.decode([token]) for token in ids.tolist())


def test_a_feature_is_told_where_there_is_one(featured: Interactions, tokenizer: Any, encoder: PromptEncoder) -> None:
    rows = Pairs.of(known_tasks()["explanation"], featured, tokenizer, 99)
    asked = [QuestionEncoder(encoder).question(rows, row, rows.task.templates[0])[0] for row in (0, 1)]
    first, second = (shown(ids, tokenizer, encoder.base) for ids in asked)
    assert first == "Explain to<4><5> why<0><1> is recommended, speaking of good words:"
    assert second == "Explain to<4><6> why<0><2> is recommended:"


def test_a_feature_is_cut_to_what_the_rest_of_its_question_leaves(
    featured: Interactions, tokenizer: Any, encoder: PromptEncoder
) -> None:
    rows = Pairs.of(known_tasks()["explanation"], featured, tokenizer, 99)
    template = rows.task.templates[0]
    whole = QuestionEncoder(encoder).question(rows, 0, template)[0]
    words = len(rows.fields["feature"].tokens[0])
    without = len(QuestionEncoder(encoder).question(rows, 1, template)[0])
    for room in range(without, len(whole) + 1):
        small = encoder_of(tokenizer, encoder_decoder=False)
        small.room = room
        ids, items = QuestionEncoder(small).question(rows, 0, template)
        assert len(ids) == len(items) <= room
        left = words - (len(whole) - room)
        assert len(ids) == (room if left > 0 else without)
        told = shown(ids, tokenizer, encoder.base)
        assert told.startswith("Explain to<4><5> why<0><1> is recommended")
        assert ("speaking of" in told) == (left > 0)
        assert items[ids == encoder.base + 1].tolist() == [0]


def test_ragged_items_and_other_user_tokens(log: Interactions, tokenizer: Any, encoder: PromptEncoder) -> None:
    rows = Pairs.of(known_tasks()["rating"], log, tokenizer, 99)
    ids, items = QuestionEncoder(encoder).question(rows, 3, rows.task.templates[1], np.array([encoder.base + 9]))
    assert [t for t in (ids - encoder.base).tolist() if t >= 0] == [3, 9]
    assert items[ids == encoder.base + 3].tolist() == [2]


def test_an_answer_ends_unless_it_was_cut(log: Interactions, tokenizer: Any, encoder: PromptEncoder) -> None:
    task = known_tasks()["review_text"]
    whole, cut = (Pairs.of(task, log, tokenizer, limit) for limit in (99, 3))
    answer = QuestionEncoder(encoder).answer(whole, 0)
    assert answer[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(answer[:-1]) == f" {LONG}"
    assert len(QuestionEncoder(encoder).answer(cut, 0)) == 3
    assert QuestionEncoder(encoder).answer(cut, 0)[-1] != tokenizer.eos_token_id


def test_other_scripts_survive(log: Interactions, tokenizer: Any) -> None:
    rows = Pairs.of(known_tasks()["review_rating"], log, tokenizer, 99)
    assert tokenizer.decode(rows.fields["review"].tokens[2]) == " bad \u00e9\u4f60"


def test_a_log_without_the_column_is_refused(tokenizer: Any) -> None:
    log = Interactions.from_arrays(["a"], ["x"])
    with pytest.raises(ArgumentError, match="needs the column 'rating'"):
        Pairs.of(known_tasks()["rating"], log, tokenizer, 8)


def test_a_decoder_answers_from_its_start(log: Interactions, tokenizer: Any, encoder: PromptEncoder) -> None:
    """Nothing stands behind the question but its end, and places of what is supervised are the decoder's."""
    known, end = known_tasks(), [tokenizer.eos_token_id]
    texts, ratings = (Pairs.of(known[name], log, tokenizer, 99) for name in ("review_summary", "rating"))
    decoding = encoder_of(tokenizer, encoder_decoder=True)
    found: list[Batch] = []
    for own in (encoder, decoding):
        rest = np.arange(len(ratings), dtype=np.float32)
        rows = [RatingRows(ratings, own, rest).example(3, None)]
        rows += [WritingRows(texts, own).example(row, None) for row in (0, 1)]
        found.append(collate(rows, own.pad_id))
    behind, decoded = found
    questions = [QuestionEncoder(encoder).question(texts, row, texts.task.seen[0])[0] for row in (0, 1)]
    answers = [QuestionEncoder(encoder).answer(texts, row) for row in (0, 1)]
    for row, (question, answer) in enumerate(zip(questions, answers, strict=True), 1):
        real = decoded.attention_mask[row].bool()
        assert decoded.input_ids[row][real].tolist() == question.tolist() + end
        assert behind.input_ids[row][behind.attention_mask[row].bool()].tolist() == [*question, *answer]
        assert decoded.text_position[decoded.text_row == row].tolist() == list(range(len(answer)))
        places = behind.text_position[behind.text_row == row]
        assert behind.input_ids[row][places + 1].tolist() == answer.tolist()
    assert decoded.text_ids.tolist() == behind.text_ids.tolist() == np.concatenate(answers).tolist()
    assert decoded.items[0][real_end(decoded)] == -1
    assert (behind.rating_position.tolist(), decoded.rating_position.tolist()) == ([real_end(behind)], [0])
    assert behind.ratings.tolist() == decoded.ratings.tolist() == [3.0]


def real_end(batch: Batch) -> int:
    """The last place of the first row."""
    return int(batch.attention_mask[0].sum()) - 1
