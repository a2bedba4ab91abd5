"""Writing behind prompts of words and OOV tokens."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from metatoken.config import SettingError
from metatoken.decode.settings import TextOptions
from metatoken.decode.text import candidates, log_probabilities, write
from metatoken.errors import ArgumentError
from metatoken.tasks.batch import collate
from metatoken.tasks.examples import Example
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.questions import QuestionEncoder
from metatoken.tasks.task import find_task
from tests.conftest import TrainedRun

Prompts = list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def prompts(answering_run: TrainedRun) -> Prompts:
    run = answering_run.run
    task = find_task("review_summary")
    rows = Pairs.of(task, run.split.pairs.test, run.module.tokenizer, 24)
    encoder = QuestionEncoder(run.module.builder.encoder)
    return [encoder.question(rows, row, task.templates[0]) for row in range(6)]


def test_a_batch_writes_what_each_prompt_writes_alone(answering_run: TrainedRun, prompts: Prompts) -> None:
    module = answering_run.run.module
    options = TextOptions(max_new_tokens=8)
    together = write(module.network, module.tokenizer, prompts, options)
    assert len({len(ids) for ids, _ in prompts}) > 1
    assert together == [write(module.network, module.tokenizer, [prompt], options)[0] for prompt in prompts]


def test_a_text_is_as_likely_as_the_loss_says(answering_run: TrainedRun, prompts: Prompts) -> None:
    network = answering_run.run.module.network
    texts = [[7, 9, 11], [5], [12, 8]]
    found = log_probabilities(network, prompts[:3], texts)
    for (ids, items), text, own in zip(prompts, texts, found.tolist(), strict=False):
        where = np.arange(len(ids), len(ids) + len(text))
        rows = np.concatenate([items, np.full(len(text), -1)])
        batch = collate([Example(np.concatenate([ids, text]), rows, text=where)], 0)
        loss = network.read(batch, network.items())[1]
        assert own == pytest.approx(-float(loss) * len(text), rel=1e-4)


@pytest.mark.parametrize("novelty", [0.25, 1.0])
def test_novelty_gives_the_beam_that_says_most_of_its_question(
    answering_run: TrainedRun, prompts: Prompts, novelty: float
) -> None:
    """By hand: every beam of each prompt, scored alone."""
    module = answering_run.run.module
    network, tokenizer = module.network, module.tokenizer
    alone = module.builder.encoder.only_words(find_task("review_summary").templates[0])
    # What must not come first is found by how a tokenizer spells, and `Spelled` spells otherwise: so nothing is.
    options = TextOptions(max_new_tokens=6, min_new_tokens=0, num_beams=4, novelty=novelty)
    found = write(network, tokenizer, prompts, options, alone=alone)
    for prompt, text in zip(prompts, found, strict=True):
        ids = Spelled(tokenizer, lambda token: f"{token} ")
        beams = [[int(token) for token in row.split()] for row in every_beam(network, ids, prompt, options)]
        beams = [
            row[: row.index(tokenizer.eos_token_id) + 1] if tokenizer.eos_token_id in row else row for row in beams
        ]
        scores = [
            float(log_probabilities(network, [prompt], [row]) - novelty * log_probabilities(network, [alone], [row]))
            / len(row)
            for row in beams
        ]
        best = beams[int(np.argmax(scores))]
        assert text == tokenizer.decode(best, skip_special_tokens=True).strip()
    assert found == [write(network, tokenizer, [prompt], options, alone=alone)[0] for prompt in prompts]


def every_beam(network: Any, ids: Any, prompt: tuple[np.ndarray, np.ndarray], options: TextOptions) -> list[str]:
    """All beams of a prompt; what they are compared with does not matter."""
    return candidates(network, ids, [prompt], options, alone=prompt).texts


def test_novelty_needs_beams() -> None:
    for novelty in (0.5, "auto"):
        with pytest.raises(SettingError, match="set num_beams above 1"):
            TextOptions(novelty=novelty)
    for wrong in (-0.1, 1.5):
        with pytest.raises(SettingError, match=f"from 0 to 1, or auto, got {wrong}"):
            TextOptions(num_beams=2, novelty=wrong)


def test_a_novelty_that_is_left_to_be_chosen_is_no_number(answering_run: TrainedRun, prompts: Prompts) -> None:
    module, options = answering_run.run.module, TextOptions(num_beams=2, novelty="auto")
    assert options.settled(0.3) == TextOptions(num_beams=2, novelty=0.3)
    assert TextOptions(num_beams=2, novelty=0.5).settled(0.3).novelty == 0.5
    assert TextOptions.read({"num_beams": 2, "novelty": "auto"}) == options
    assert TextOptions.read({"num_beams": 2, "novelty": 1}).novelty == 1.0
    with pytest.raises(ArgumentError, match="expected a number for the novelty, got auto"):
        write(module.network, module.tokenizer, prompts, options, alone=prompts[0])
    with pytest.raises(ArgumentError, match="alone: is needed for a novelty above 0"):
        write(module.network, module.tokenizer, prompts, options.settled(0.3))


class Spelled:
    """A tokenizer that spells tokens in another way, and may end texts with another one."""

    def __init__(self, tokenizer: Any, spell: Callable[[int], str], end: int | None = None) -> None:
        self.size, self.spell, self.pad_token_id = len(tokenizer), spell, tokenizer.pad_token_id
        self.eos_token_id = tokenizer.eos_token_id if end is None else end

    def __len__(self) -> int:
        return self.size

    def batch_decode(self, rows: Any, **_: Any) -> list[str]:
        return ["".join(self.spell(int(token)) for token in row) for row in rows]


def first_token(module: Any, prompts: Prompts) -> int:
    """The token that a model writes first."""
    numbers = Spelled(module.tokenizer, str)
    return int(write(module.network, numbers, prompts[:1], TextOptions(max_new_tokens=1, min_new_tokens=0))[0])


def test_a_text_is_not_empty_unless_it_may_be(answering_run: TrainedRun, prompts: Prompts) -> None:
    """A model that would end at once: its end token is what it writes first."""
    module = answering_run.run.module
    end = first_token(module, prompts)
    ending = Spelled(module.tokenizer, lambda token: "" if token == end else "x", end)
    assert write(module.network, ending, prompts[:1], TextOptions(max_new_tokens=4, min_new_tokens=0)) == [""]
    for least in (1, 3):
        options = TextOptions(max_new_tokens=4, min_new_tokens=least)
        assert len(write(module.network, ending, prompts[:1], options)[0]) >= least


def test_a_text_is_not_a_blank_alone(answering_run: TrainedRun, prompts: Prompts) -> None:
    """A model whose first token is a blank, where one token is all it may write."""
    module = answering_run.run.module
    first = first_token(module, prompts)
    blank = Spelled(module.tokenizer, lambda token: " " if token == first else "x")
    assert write(module.network, blank, prompts[:1], TextOptions(max_new_tokens=1, min_new_tokens=0)) == [""]
    assert write(module.network, blank, prompts[:1], TextOptions(max_new_tokens=1)) == ["x"]


def test_a_seed_gives_the_same_draws(answering_run: TrainedRun, prompts: Prompts) -> None:
    module = answering_run.run.module
    options = TextOptions(max_new_tokens=8, do_sample=True, temperature=2.0)
    drawn = [write(module.network, module.tokenizer, prompts, options, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("fields", [{}, {"num_beams": 3}, {"num_beams": 3, "novelty": 0.5}, {"do_sample": True}])
@pytest.mark.parametrize(
    "own",
    [
        {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1},
        {"forced_bos_token_id": 40, "forced_eos_token_id": 2, "suppress_tokens": [30, 31]},
        {"num_beams": 2, "num_return_sequences": 2, "return_dict_in_generate": True},
        {"max_time": 1e-9, "guidance_scale": 3.0},
    ],
)
def test_what_a_backbone_says_of_writing_changes_nothing(
    answering_run: TrainedRun, prompts: Prompts, monkeypatch: pytest.MonkeyPatch, fields: Any, own: Any
) -> None:
    module, options = answering_run.run.module, TextOptions(max_new_tokens=8, **fields)
    plain = write(module.network, module.tokenizer, prompts, options, alone=prompts[0])
    told, model = GenerationConfig(**own), module.network.backbone.bare()
    monkeypatch.setattr(model, "generation_config", told)
    assert write(module.network, module.tokenizer, prompts, options, alone=prompts[0]) == plain
    assert model.generation_config is told


def test_a_draw_is_from_all_tokens(answering_run: TrainedRun, prompts: Prompts) -> None:
    """Where nearly all are equally likely, more come than the 50 that `generate` by itself draws from."""
    module = answering_run.run.module
    options = TextOptions(max_new_tokens=1, do_sample=True, temperature=1e4)
    assert len(set(write(module.network, module.tokenizer, [prompts[0]] * 300, options))) > 60


def test_texts_in_bfloat16_are_nearly_as_likely(answering_run: TrainedRun, prompts: Prompts) -> None:
    module = answering_run.run.module
    network, weights = module.network, {name: value.clone() for name, value in module.state_dict().items()}
    options = TextOptions(max_new_tokens=8)

    def likelihood(texts: list[str]) -> float:
        tokens = [module.tokenizer(f" {text}", add_special_tokens=False)["input_ids"] for text in texts]
        return float(log_probabilities(network, prompts, tokens).sum()) / sum(map(len, tokens))

    exact, half = (write(network, module.tokenizer, prompts, replace(options, bfloat16=half)) for half in (False, True))
    assert likelihood(half) == pytest.approx(likelihood(exact), abs=0.2)  # one "the" more or less is .06
    assert likelihood(["text"] * len(prompts)) < likelihood(exact) - 1
    drawn = replace(options, bfloat16=True, do_sample=True, consensus=3, temperature=0.5)
    assert write(network, module.tokenizer, prompts, drawn) == write(network, module.tokenizer, prompts, drawn)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_no_ngram_comes_twice_where_that_is_asked_for(answering_run: TrainedRun, prompts: Prompts) -> None:
    module = answering_run.run.module
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = TextOptions(max_new_tokens=6, no_repeat_ngram_size=1)
        (text,) = write(module.network, module.tokenizer, prompts[:1], options)
    ids = module.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
    assert len(set(ids)) == len(ids) > 0


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": 3, "min_new_tokens": 4}, "min_new_tokens"),
        ({"num_beams": 0}, "num_beams"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 1e300}, "temperature"),  # beyond what a float32 holds, and so is what is divided by it below
        ({"temperature": 1e-40}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
    ],
)
def test_options_that_cannot_be_used(values: dict[str, Any], name: str) -> None:
    with pytest.raises(ArgumentError, match=name):
        TextOptions(**values)
