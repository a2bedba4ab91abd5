"""Templates in other words: what is replaced, what is not, and that a model then needs no words that it knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from metatoken.tasks.prompts import PromptEncoder, train_tokenizer
from metatoken.tasks.rewording import Rewording, reworded
from metatoken.tasks.task import find_task


def test_a_sort_of_words_changes_alike_for_all_rows_that_begin_with_it(batches: Any) -> None:
    data, plain = batches(fields={"reworded": 1.0}), batches(fields={"reworded": 0.0})
    changed = kept = sorts = 0
    for number in range(len(data)):
        one, other = data[0, number], plain[0, number]
        # Nothing but words is different.
        for name in ("input_ids", "items", "targets", "positions", "words_of", "words_mask", "taken"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        real = one.words_mask > 0
        assert torch.equal(one.words[~real], other.words[~real])
        assert one.words.min() >= 0
        assert one.words.max() < data.rewording[1]
        differs = (one.words != other.words)[real]
        changed, kept, sorts = changed + int(differs.sum()), kept + int((~differs).sum()), sorts + len(one.words)
    assert sorts > 20
    assert 0.3 < changed / (changed + kept) < 0.7  # a share that is drawn evenly


def test_so_many_sorts_stay_as_they_are(batches: Any) -> None:
    examples = batches(fields={"reworded": 0.0}).examples(0, 0)
    rng, same = np.random.default_rng(0), 0
    for _ in range(400):
        others = reworded(examples, 0.5, 200, rng)
        same += np.array_equal(others[0].words, examples[0].words)
        owners = {id(example.words): id(other.words) for example, other in zip(examples, others, strict=True)}
        assert len(set(owners.values())) == len(owners)
        assert all(owners[id(e.words)] == id(o.words) for e, o in zip(examples, others, strict=True))
    assert 0.45 < same / 400 < 0.6  # a half, and those whose share is next to nothing


def test_rows_without_an_item_to_find_keep_their_words(batches: Any) -> None:
    first, *rest = batches(fields={"reworded": 0.0}).examples(0, 0)
    asked = first._replace(words=first.words.copy(), targets=first.targets[:0])
    others = reworded([asked, *rest], 1.0, 200, np.random.default_rng(0))
    assert others[0].words is asked.words
    assert any(not np.array_equal(one.words, other.words) for one, other in zip(rest, others[1:], strict=True))


def test_words_are_those_of_the_step_whatever_its_parts(batches: Any) -> None:
    whole, parts = batches(fields={"reworded": 1.0}), batches(fields={"reworded": 1.0}, parts=2)

    def rows(batch: Any) -> list[tuple[list[int], list[int]]]:
        words = batch.words[batch.words_of]
        real = batch.words_mask[batch.words_of] > 0
        return [(w[r].tolist(), ids.tolist()) for w, r, ids in zip(words, real, batch.targets, strict=False)]

    one, two = rows(whole[0, 3]), [*rows(parts[0, 6]), *rows(parts[0, 7])]
    assert sorted(w for w, _ in one) == sorted(w for w, _ in two)
    assert torch.equal(whole[0, 3].words, whole[0, 3].words)
    assert not torch.equal(whole[0, 3].words, whole[1, 3].words[: len(whole[0, 3].words)])


def test_presets_are_trained_so_and_what_was_saved_before_is_not(make_module: Any) -> None:
    module = make_module()
    assert module.settings.reworded == module.reader.reworded == 0.5
    assert make_module(reworded=0.1).reader.reworded == 0.1
    assert module.settings.as_before.reworded == 0.5
    assert type(module.settings)().as_before.reworded == 0.0
    assert type(module.settings)(backbone="smollm2-135m").resolved(100).reworded == 0.0
    assert module.settings.reworded_texts == module.reader.reworded_texts == 0.0
    assert make_module(reworded_texts=0.1).reader.reworded_texts == 0.1
    assert type(module.settings)(backbone="smollm2-135m").resolved(100).reworded_texts == 0.5
    assert type(module.settings)(backbone="smollm2-135m").as_before.reworded_texts == 0.0


def test_questions_of_tasks_that_write_are_put_in_words_of_the_same_task() -> None:
    task, tokenizer = find_task("explanation"), train_tokenizer(["explanation", "review_summary"])
    encoder = PromptEncoder(tokenizer, np.array([[0]]), np.array([[1]]), base=len(tokenizer), encoder_decoder=False)
    words, rng = encoder.words("Explain to"), np.random.default_rng(0)
    rewording, kept, lengths = Rewording.of(task, encoder, 0.5), 0, []
    for _ in range(2000):
        rng.random()  # every row has draws of its own before
        change = rewording.draw(rng)
        other = words if change is None else change(words)
        kept += change is None
        lengths.append(len(other))
        assert set(other.tolist()) <= set(rewording.words.tolist())
    assert 0.45 < kept / 2000 < 0.55
    # Of the half that is changed a quarter of the words is left out.
    assert 0.1 < 1 - np.mean(lengths) / len(words) < 0.15
    known = "".join(template.text for template in task.seen)
    assert all(tokenizer.decode([word]).strip() in known for word in rewording.words.tolist())
    assert len(set(rewording.words.tolist())) > 20


def test_nothing_else_is_drawn_otherwise_where_texts_are_reworded() -> None:
    task, tokenizer = find_task("explanation"), train_tokenizer(["explanation"])
    encoder = PromptEncoder(tokenizer, np.array([[0]]), np.array([[1]]), base=len(tokenizer), encoder_decoder=False)
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    assert Rewording.of(task, encoder, 0.0).draw(one) is None
    change = Rewording.of(task, encoder, 1.0).draw(other)
    assert change is not None
    change(encoder.words("Explain to"))
    assert one.random(8).tolist() == other.random(8).tolist()
