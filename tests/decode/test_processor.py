"""`generate` under the trie: only items come out, and the same as from our own search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessorList, T5Config, T5ForConditionalGeneration

from metatoken.decode.processor import TokenTrie, TrieLogitsProcessor, prefix_allowed_tokens_fn
from metatoken.errors import ArgumentError
from tests.decode.test_search import random_codes
from tests.oracles.cluster import DictTrie

END = 3


def naive_allowed(codes, prefix):
    """Continuations of a prefix by looking at every item; the end token behind an item and outside the trie."""
    items = [[c for c in row if c >= 0] for row in codes.tolist()]
    node = DictTrie(codes).root
    for token in prefix:
        node = node.get(token) if node is not None else None
    if node is None:
        return {END}
    found = {item[len(prefix)] for item in items if item[: len(prefix)] == list(prefix) and len(item) > len(prefix)}
    return found | ({END} if list(prefix) in items else set())


@given(seed=st.integers(0, 10**6), prefix=st.lists(st.integers(9, 16), max_size=4))
@settings(max_examples=60, deadline=None)
def test_allowed_tokens_equal_a_naive_trie(seed, prefix):
    rng = np.random.default_rng(seed)
    codes = random_codes(rng, 30, 3, ragged=bool(seed % 2))
    ids = np.where(codes >= 0, codes + 10, -1)
    tokens = TokenTrie(ids, end=END)
    assert tokens.trie.n_items == 30
    prefixes = [tuple(prefix[:3])] + [tuple(row[:length]) for row in ids.tolist() for length in range(4)]
    for one in prefixes:
        if -1 in one:
            continue
        generated = np.array([one], dtype=np.int64).reshape(1, len(one))
        rows, found = tokens.allowed(generated)
        assert len(found) == len(set(found.tolist()))
        assert set(rows.tolist()) <= {0}
        assert set(found.tolist()) == naive_allowed(ids, one)


def test_rows_of_a_batch_are_apart():
    ids = np.array([[10, 20], [10, 21], [11, -1]])
    rows, found = TokenTrie(ids, end=END).allowed(np.array([[10], [11], [END], [5]]))
    assert sorted(zip(rows.tolist(), found.tolist(), strict=True)) == [(0, 20), (0, 21), (1, END), (2, END), (3, END)]


def test_items_of_generated_ids():
    ids = np.array([[10, 20], [10, 21], [11, -1]])
    tokens = TokenTrie(ids, end=[END, 4])
    assert tokens.items([[10, 21], [11, END], [10, END], [11, 20], [END, END]]).tolist() == [1, 2, -1, -1, -1]
    assert tokens.subset([1, 2]).items([[10, 20], [10, 21]]).tolist() == [-1, 1]
    assert TokenTrie.from_codes([[0, 1], [1, 0]], [10, 20]).items([[10, 21], [11, 20]]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: TokenTrie([[1, -1], [2, 3]]), "end: expected"),
        (lambda: TokenTrie.from_codes([[0, 1]], [5]), "offsets: expected"),
        (lambda: TokenTrie([[1, 2]]).subset([1]), "rows: expected"),
    ],
)
def test_refuses(build, words):
    with pytest.raises(ArgumentError, match=words):
        build()


def small(encoder_decoder):
    torch.manual_seed(0)
    if encoder_decoder:
        config = T5Config(
            vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=END
        )
        config.decoder_start_token_id = 0
        return T5ForConditionalGeneration(config).eval()
    config = GPT2Config(
        vocab_size=60, n_positions=32, n_embd=16, n_layer=1, n_head=2, pad_token_id=0, bos_token_id=1, eos_token_id=END
    )
    return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("encoder_decoder", [False, True])
@pytest.mark.parametrize("sample", [False, True])
def test_generate_gives_items_alone(encoder_decoder, sample):
    codes = random_codes(np.random.default_rng(1), 25, 3, ragged=True)
    tokens = TokenTrie.from_codes(codes, [10, 20, 30], end=END)
    model, prompts = small(encoder_decoder), torch.randint(5, 60, (3, 6), generator=torch.Generator().manual_seed(0))
    length = 1 if encoder_decoder else 6
    how = {"do_sample": True, "num_return_sequences": 8} if sample else {"num_beams": 6, "num_return_sequences": 6}
    options = {"max_new_tokens": 4, "renormalize_logits": True, **how}
    torch.manual_seed(1)
    constrained = LogitsProcessorList([TrieLogitsProcessor(tokens, length)])
    fast = model.generate(prompts, logits_processor=constrained, **options)
    torch.manual_seed(1)
    slow = model.generate(prompts, prefix_allowed_tokens_fn=prefix_allowed_tokens_fn(tokens, length), **options)
    assert torch.equal(fast, slow)
    items = tokens.items(fast[:, length:])
    assert (items >= 0).all()
    few = tokens.subset([0, 5, 9])
    only = model.generate(prompts, logits_processor=[TrieLogitsProcessor(few, length)], max_new_tokens=4)
    assert set(few.items(only[:, length:]).tolist()) <= {0, 5, 9}
