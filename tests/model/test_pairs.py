"""Ratings and texts, for every family: losses, padding, writing and folding against the model's own forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metatoken import MetaTokenModule
from metatoken.decode.settings import TextOptions
from metatoken.decode.text import Prompt, _written, blank_tokens, log_probabilities, write
from metatoken.model.folding import plain_model
from metatoken.model.objective import loss_parts
from metatoken.model.settings import Weights
from metatoken.model.store.saving import load_model, save_model
from metatoken.tasks.batch import Batch, collate
from metatoken.tasks.examples import Example
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.questions import QuestionEncoder
from metatoken.tasks.rating import RatingRows
from metatoken.tasks.rating_base import RatingBase
from metatoken.tasks.task import find_task, find_template
from metatoken.tasks.text import WritingRows
from tests.prompting import moved

TASKS = ["sequential", "rating", "explanation", "review_summary"]
Make = Callable[..., MetaTokenModule]
T5 = ["t5-tied", "t5-separate"]


@pytest.fixture(scope="module")
def ratings(split: Any) -> RatingBase:
    return RatingBase.fit(split.train, split.train)


@pytest.fixture
def make(vocabulary: Any, ratings: RatingBase) -> Make:
    """A model of all kinds of tasks, whose every trained weight differs from its start."""

    def made(folder: Path, **fields: Any) -> MetaTokenModule:
        fields |= {"tasks": TASKS, "max_history": 10, "ratings": ratings}
        return moved(MetaTokenModule(vocabulary, backbone=str(folder), **fields).eval(), backbone=0.3)

    return made


@dataclass
class Rows:
    """A few examples of each kind of task."""

    ranked: list[Example]
    written: list[Example]
    rated: list[Example]

    def mixed(self) -> list[Example]:
        """All, those of different kinds side by side."""
        return [one for three in zip(self.ranked, self.written, self.rated, strict=True) for one in three]


def rows_of(module: MetaTokenModule, split: Any, n: int = 4) -> Rows:
    builder, pairs = module.builder, partial(pairs_of, module, split)
    ranked = []
    for items in (split.train.sequences()[user] for user in range(n)):
        if builder.encoder.encoder_decoder:
            ranked.append(builder.prompt(find_template("seq-1"), None, items[:-1], int(items[-1])))
        else:
            ranked.append(builder.causal(find_template("seq-1"), None, items[-11:], 1))
    writing = [WritingRows(pairs(task), builder.encoder) for task in ("explanation", "review_summary")]
    rating = RatingRows(pairs("rating"), builder.encoder, np.zeros(len(pairs("rating")), dtype=np.float32))
    rng = np.random.default_rng(0)
    return Rows(
        ranked,
        [writing[row % 2].example(row, rng) for row in range(n)],
        [rating.example(row, rng) for row in range(n)],
    )


def pairs_of(module: MetaTokenModule, split: Any, task: str, max_text: int = 64) -> Pairs:
    return Pairs.of(find_task(task), split.train, module.tokenizer, max_text)


def batch_of(module: MetaTokenModule, examples: Sequence[Example]) -> Batch:
    return collate(list(examples), module.builder.encoder.pad_id)


def questions(module: MetaTokenModule, split: Any, task: str = "review_summary", n: int = 5) -> list[Prompt]:
    asked, encoder = pairs_of(module, split, task), QuestionEncoder(module.builder.encoder)
    return [encoder.question(asked, row, asked.task.templates[0]) for row in range(n)]


@torch.no_grad()
def plain_logits(module: MetaTokenModule, model: Any, question: Prompt, answer: Sequence[int]) -> Tensor:
    """Logits of text ids at each token of an answer, `[answer, text ids]`: one row, no padding, Hugging Face alone."""
    network, (ids, items), told = module.network, question, torch.tensor([list(answer)])
    vectors = network.embed(torch.from_numpy(ids)[None], torch.from_numpy(items)[None], network.items())
    if network.backbone.is_encoder_decoder:
        logits = model(inputs_embeds=vectors, labels=told).logits[0]  # which it shifts itself
    else:
        behind = network.backbone.embed(told)
        logits = model(inputs_embeds=torch.cat([vectors, behind], 1)).logits[0, len(ids) - 1 : -1]
    return logits[:, : network.base]


def test_the_loss_of_a_text_is_that_of_the_model_itself(make: Make, folder: Path, split: Any) -> None:
    module = make(folder)
    asked, texts = questions(module, split), [[7, 9, 2], [5], [12, 8, 30, 4, 2], [3, 3], [40]]
    found = log_probabilities(module.network, asked, texts)
    for question, text, own in zip(asked, texts, found.tolist(), strict=True):
        scores = plain_logits(module, module.network.backbone.bare(), question, text).log_softmax(1)
        assert own == pytest.approx(float(scores[range(len(text)), text].sum()), rel=1e-4)


@torch.no_grad()
def test_rows_of_other_tasks_change_nothing(make: Make, folder: Path, split: Any) -> None:
    """Neither do their lengths, nor how many there are; and a rating is read where inference reads it."""
    module = make(folder)
    network, rows = module.network, rows_of(module, split)
    together = network(batch_of(module, rows.mixed()))
    alone = network(batch_of(module, rows.ranked))
    torch.testing.assert_close(together.item, alone.item, rtol=1e-4, atol=1e-4)
    for one, other in zip(together.tokens, alone.tokens, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    texts = [network(batch_of(module, [row])) for row in rows.written]
    assert len({one.n_text for one in texts}) > 1
    total = sum(float(one.text) * one.n_text for one in texts)
    assert float(together.text) * together.n_text == pytest.approx(total, rel=1e-4)
    read = network.start(batch_of(module, [Example(row.ids, row.items) for row in rows.rated])).last
    values = network.rating_head(read)
    assert values.std() > 0.01
    torch.testing.assert_close(together.ratings, values**2, rtol=1e-3, atol=1e-5)
    for row, own in zip(rows.rated, together.ratings, strict=True):
        torch.testing.assert_close(network(batch_of(module, [row])).ratings[0], own, rtol=1e-3, atol=1e-5)


def by_hand(module: MetaTokenModule, question: Prompt, length: int) -> str:
    """The likeliest token after the other, the whole read anew for each."""
    tokenizer, tokens = module.tokenizer, []
    for _ in range(length):
        logits = plain_logits(module, module.network.backbone.bare(), question, [*tokens, 0])[-1]
        if not tokens:
            logits[blank_tokens(tokenizer)] = -torch.inf
        tokens.append(int(logits.argmax()))
        if tokens[-1] == tokenizer.eos_token_id:
            break
    return str(tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def test_what_is_written_is_the_likeliest_token_after_the_other(make: Make, folder: Path, split: Any) -> None:
    """By a cache or without, and for a batch as for each question."""
    module = make(folder)
    asked, options = questions(module, split), TextOptions(max_new_tokens=6)
    found = write(module.network, module.tokenizer, asked, options)
    assert len({len(ids) for ids, _ in asked}) > 1
    assert found == [by_hand(module, question, 6) for question in asked]
    assert found == [write(module.network, module.tokenizer, [question], options)[0] for question in asked]


class Uncached(TextOptions):
    """Every token of every beam is read anew."""

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"use_cache": False}


@pytest.mark.parametrize("name", T5)
@pytest.mark.parametrize(
    "fields",
    [{"num_beams": 4}, {"num_beams": 4, "novelty": 0.5}, {"do_sample": True}, {"do_sample": True, "consensus": 3}],
)
def test_beams_and_draws_of_a_decoder_need_no_cache(
    make: Make, backbones: dict[str, Path], split: Any, name: str, fields: dict[str, Any]
) -> None:
    """A causal model cannot be asked so: `generate` refuses vectors without a cache."""
    module = make(backbones[name])
    asked = questions(module, split)
    alone = module.builder.encoder.only_words(find_template("review-summary-1"))
    found = [
        write(module.network, module.tokenizer, asked, options(max_new_tokens=6, **fields), alone=alone, seed=3)
        for options in (TextOptions, Uncached)
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


@pytest.mark.parametrize("name", T5)
def test_an_encoder_reads_a_question_to_its_end(make: Make, backbones: dict[str, Path], split: Any, name: str) -> None:
    """As every prompt of such a model ends; the words alone, which novelty compares with, too."""
    module = make(backbones[name])
    end = module.tokenizer.eos_token_id
    alone = module.builder.encoder.only_words(find_template("review-summary-1"))
    for ids, items in [*questions(module, split), alone]:
        assert (ids[-1], items[-1]) == (end, -1)
        assert len(ids) == len(items)
        assert end not in ids[:-1]


def test_columns_without_a_token_are_never_written(make: Make, folder: Path, split: Any) -> None:
    """A table is often longer than its tokenizer, and ids beyond that are those of OOV tokens."""
    module = make(folder)
    network, asked = module.network, questions(module, split)
    head = network.backbone.bare().get_output_embeddings()
    assert len(head.weight) > network.base
    with torch.no_grad():
        head.weight[network.base :] = torch.randn(len(head.weight) - network.base, head.weight.shape[1]) * 100
    told = TextOptions(max_new_tokens=5)
    for row in _written(network, module.tokenizer, asked, told, 0).tolist():
        assert max(row) < network.base
    vectors = network.embed(*(torch.from_numpy(one)[None] for one in asked[0]), network.items())
    extra = {"labels": torch.tensor([[5]])} if network.backbone.is_encoder_decoder else {}
    with torch.no_grad():  # unless they are kept from it
        assert int(network.backbone.bare()(inputs_embeds=vectors, **extra).logits[0, -1].argmax()) >= network.base


def test_gradients_of_all_kinds_reach_every_trained_weight(make: Make, folder: Path, split: Any) -> None:
    """With full tuning: the final norm's gain, a separate head, and the text rows of a table, too."""
    module = make(folder, tuning="full").train()
    loss_parts(module.network(batch_of(module, rows_of(module, split).mixed())), Weights())["loss"].backward()
    idle = {name for name, p in module.network.named_parameters() if p.requires_grad and p.grad is None}
    assert not idle


def test_a_mixed_batch_is_learnt(make: Make, folder: Path, split: Any) -> None:
    module = make(folder, tuning="full").train()
    rows = rows_of(module, split)
    rated = [row._replace(rating=np.float32([1.5])) for row in rows.rated]
    batch = batch_of(module, Rows(rows.ranked, rows.written, rated).mixed())
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    seen: list[dict[str, float]] = []
    for _ in range(40):
        parts = loss_parts(module.network(batch), Weights())
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        seen.append({name: float(value.detach()) for name, value in parts.items()})
    assert {"item", "generation", "text", "rating"} <= set(seen[0])
    worse = {name: (first, seen[-1][name]) for name, first in seen[0].items() if seen[-1][name] > 0.9 * first}
    assert not worse


def test_a_saved_model_answers_the_same(make: Make, folder: Path, split: Any, vocabulary: Any, tmp_path: Path) -> None:
    """What full tuning moves behind the final norm is kept, too."""
    module = make(folder, tuning="full")
    save_model(module, tmp_path / "model")
    again = load_model(tmp_path / "model", vocabulary)
    batch = batch_of(module, rows_of(module, split).mixed())
    with torch.no_grad():
        one, two = module.network(batch), again.network(batch)
    assert torch.equal(one.text, two.text)
    assert torch.equal(one.ratings, two.ratings)
    asked, options = questions(module, split), TextOptions(max_new_tokens=6)
    assert write(again.network, again.tokenizer, asked, options) == write(
        module.network, module.tokenizer, asked, options
    )


def test_a_folded_model_writes_as_it_was_trained_to(make: Make, folder: Path, split: Any) -> None:
    """Its text head, behind a norm that training has moved; a tied T5 has a factor there."""
    module = make(folder, tuning="full")
    plain = plain_model(module.network)
    for question, text in zip(questions(module, split), [[7, 9, 2], [5], [12, 8, 30], [3, 3], [40]], strict=True):
        expected = plain_logits(module, module.network.backbone.bare(), question, text)
        torch.testing.assert_close(plain_logits(module, plain, question, text), expected, rtol=1e-4, atol=1e-4)
