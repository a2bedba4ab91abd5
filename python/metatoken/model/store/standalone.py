"""Recommends items from this folder with transformers alone; metatoken is not needed.

    python recommend.py --history 31 1029 1061 -k 10

The prompt is the words of training followed by the tokens of the history. Items are found by a beam search over the
prefix table: each step scores the tokens that may follow (a softmax over those), beams without an allowed item below
are dropped before the cut, and the cut is widened until it holds as many allowed items as wanted. With
`leaf.safetensors`, an item's last token is read and scored by the item's own vector, and where metatoken.json says
`"generated_by": "items"`, the items that were found are ranked by these vectors.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

DEPTH = 100  # items that a search looks for at least


class Recommendation(NamedTuple):
    """One recommended item: rank from 1, raw id, title ("" where unknown), probability."""

    rank: int
    item: str
    title: str
    score: float


class Recommender:
    """Recommends with the model of an exported folder."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.meta = json.loads((folder / "metatoken.json").read_text(encoding="utf-8"))
        self.items = _lines(folder / "items.jsonl")
        self.rows = {item["item"]: row for row, item in enumerate(self.items)}
        self.trie = load_file(folder / "prefix.safetensors")
        self.leaf = load_file(folder / "leaf.safetensors") if self.meta["leaf"] else None
        users = _lines(folder / "users.jsonl") if "user_prompt" in self.meta else []
        self.users = {user["user"]: user["ids"] for user in users}
        loader = AutoModelForSeq2SeqLM if self.meta["encoder_decoder"] else AutoModelForCausalLM
        self.model: Any = loader.from_pretrained(str(folder), dtype=torch.float32).eval()

    @torch.no_grad()
    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        user: str | None = None,
        width: int = 20,
        exclude_seen: bool = True,
    ) -> list[Recommendation]:
        """The k most probable items after a history.

        Args:
            history: Raw item ids, oldest first; `KeyError` where one is unknown.
            k: Items to return.
            user: Raw id, where the model reads user tokens; `KeyError` where it is unknown.
            width: Least number of beams kept per step.
            exclude_seen: Leave out items of the history.
        """
        rows = [self.rows[item] for item in history]
        leaf_of = torch.argsort(self.trie["leaf_items"])
        blocked = torch.unique(leaf_of[torch.tensor(rows if exclude_seen else [], dtype=torch.long)])
        wanted = max(k, min(DEPTH, len(self.items)))
        prompt = self.prompt(rows, user)
        start = self._states(prompt, torch.zeros(1, 0, dtype=torch.long))
        leaves, scores = self._search(prompt, start, blocked, wanted, max(width, k))
        if self.leaf is not None and self.meta["generated_by"] == "items":
            leaves = leaves[torch.argsort(scores, descending=True, stable=True)[:wanted]]
            scores = torch.log_softmax(self.leaf["outputs"] @ start[0] + self.leaf["bias"], 0)[leaves]
        order = torch.argsort(scores, descending=True, stable=True)[:k]
        best = [(self.items[int(self.trie["leaf_items"][leaves[i]])], float(scores[i].exp())) for i in order]
        return [Recommendation(n, item["item"], item["title"], score) for n, (item, score) in enumerate(best, 1)]

    def prompt(self, rows: Sequence[int], user: str | None = None) -> tuple[list[int], list[int], list[int]]:
        """Token ids of the prompt after item rows, at an item's last token its row, else -1, and positions."""
        ids = list(self.meta["prompt"])
        if user is not None:
            before, after = self.meta["user_prompt"]
            ids = before + self.users[user] + after
        own = [-1] * len(ids)
        words = len(ids)
        for row in rows[max(0, len(rows) - self.meta["max_history"]) :]:
            tokens = self.items[row]["ids"]
            written = self.items[row].get("prompt", tokens)
            lead = 1 if self.meta["compact"] else len(tokens)
            ids += written
            own += [-1] * (lead - 1) + [row] + [-1] * (len(written) - lead)
        ids, own = ids + self.meta["end"], own + [-1] * len(self.meta["end"])
        # Where positions are learned, they are counted back from the answer.
        counted = self.meta["answer_at"] is not None and len(rows) > 0
        first = max(words, self.meta["answer_at"] - (len(ids) - words)) if counted else words
        return ids, own, [*range(words), *range(first, first + len(ids) - words)]

    def allowed_tokens(self, prompt_length: int) -> Callable[[int, Tensor], list[int]]:
        """A `prefix_allowed_tokens_fn` for `generate`: only ids of items, `max_new_tokens` is their depth.

        Args:
            prompt_length: Ids before the first new one; 1 for an encoder-decoder model.
        """

        def allowed(_row: int, ids: Tensor) -> list[int]:
            below = self._below(0)
            for token in ids[prompt_length:].tolist():
                below = self._below(int(below[self.trie["token"][below] == token]))
            tokens: list[int] = self.trie["token"][below].tolist()
            return tokens

        return allowed

    def _below(self, node: int) -> Tensor:
        return torch.arange(*self.trie["first_child"][node : node + 2].tolist())

    def _states(self, prompt: tuple[list[int], list[int], list[int]], beams: Tensor) -> Tensor:
        """What the head reads after the prompt and each beam's tokens `[W, t]`: `[W, d]`."""
        ids, own, positions = map(torch.tensor, prompt)
        vectors = self.model.get_input_embeddings()(ids)
        if self.leaf is not None:
            vectors = torch.where(own[:, None] >= 0, self.leaf["inputs"][own.clamp_min(0)], vectors)
        if self.meta["encoder_decoder"]:
            start = torch.full((len(beams), 1), self.meta["decoder_start"])
            read = self.model.get_encoder()(inputs_embeds=vectors[None]).last_hidden_state
            out = self.model.get_decoder()(
                input_ids=torch.cat([start, beams], 1), encoder_hidden_states=read.expand(len(beams), -1, -1)
            )
        else:
            after = self.model.get_input_embeddings()(beams)
            full = torch.cat([vectors.expand(len(beams), -1, -1), after], 1)
            order = torch.cat([positions, positions[-1:] + 1 + torch.arange(beams.shape[1])])
            # Without a mask, transformers takes a jump of the positions for the begin of another text.
            mask = torch.ones(full.shape[:2], dtype=torch.long)
            out = self.model.base_model(
                inputs_embeds=full, attention_mask=mask, position_ids=order.expand(len(full), -1), use_cache=False
            )
        states: Tensor = out.last_hidden_state[:, -1]
        return states

    def _search(
        self, prompt: tuple[list[int], list[int], list[int]], start: Tensor, blocked: Tensor, wanted: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """Allowed leaves and the log-probabilities of their tokens, in no order; `start` is the state `[1, d]`."""
        trie, depth = self.trie, self.meta["depth"]
        nodes, scores = torch.zeros(1, dtype=torch.long), torch.zeros(1)
        beams = torch.zeros(1, 0, dtype=torch.long)
        states = start
        for level in range(depth):
            last = level == depth - 1
            found = [
                self._children(int(node), state, start[0], by_leaf=last and self.leaf is not None)
                for node, state in zip(nodes, states, strict=True)
            ]
            counts = torch.tensor([len(below) for _, below in found])
            beams = beams.repeat_interleave(counts, 0)
            scores = scores.repeat_interleave(counts) + torch.cat([scored for scored, _ in found])
            nodes = torch.cat([below for _, below in found])
            begin, end = trie["leaf_begin"][nodes], trie["leaf_end"][nodes]
            allowed = end - begin - torch.searchsorted(blocked, end) + torch.searchsorted(blocked, begin)
            keep = torch.argsort(scores.masked_fill(allowed == 0, -torch.inf), descending=True, stable=True)
            keep = keep[: int((allowed > 0).sum())]
            if last:
                return begin[keep], scores[keep]
            enough = int((allowed[keep].cumsum(0) < wanted).sum()) + 1
            keep = keep[: max(width, enough)]
            nodes, scores = nodes[keep], scores[keep]
            beams = torch.cat([beams[keep], trie["token"][nodes][:, None]], 1)
            by_leaf = self.leaf is not None and level == depth - 2
            states = start.expand(len(nodes), -1) if by_leaf else self._states(prompt, beams)
        return nodes, scores

    def _children(self, node: int, state: Tensor, start: Tensor, *, by_leaf: bool) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the nodes below a node, and which they are."""
        below = self._below(node)
        if by_leaf and self.leaf is not None:
            leaves = slice(int(self.trie["leaf_begin"][node]), int(self.trie["leaf_end"][node]))
            return torch.log_softmax(self.leaf["outputs"][leaves] @ start + self.leaf["bias"][leaves], 0), below
        logits = self._logits(state)
        own = logits[self.trie["token"][below] - self.meta["base"]]
        rivals = logits if self.meta["normaliser"] == "full" else own
        return own - torch.logsumexp(rivals, 0), below

    def _logits(self, state: Tensor) -> Tensor:
        """Logits of all item and user tokens, `[n_tokens]`."""
        head = self.model.get_output_embeddings()
        tokens = slice(self.meta["base"], self.meta["base"] + self.meta["n_tokens"])
        logits: Tensor = head.weight[tokens] @ state
        return logits if head.bias is None else logits + head.bias[tokens]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _ids(given: str, known: Mapping[str, int]) -> list[str]:
    """The ids of an argument: one, or some with commas between them."""
    return [given] if given in known else [item.strip() for item in next(csv.reader([given], skipinitialspace=True))]


def main() -> None:
    """The command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe or file of Windows knows few letters
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(description="Recommends items after a history.")
    parser.add_argument(
        "--history", nargs="+", required=True, metavar="ID", help="raw item ids, oldest first: 31 1029 or 31,1029"
    )
    parser.add_argument("--user", metavar="ID", help="raw id, where the model reads user tokens")
    parser.add_argument("-k", type=int, default=10, help="how many")
    parser.add_argument("--width", type=int, default=20, help="least number of beams per step")
    parser.add_argument("--keep-seen", action="store_true", help="do not leave out the items of the history")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    recommender = Recommender(Path(__file__).resolve().parent)
    history = [item for given in options.history for item in _ids(given, recommender.rows)]
    unknown = [item for item in history if item not in recommender.rows]
    if unknown:
        parser.error(f"unknown items: {', '.join(unknown)}")
    if options.user is not None and options.user not in recommender.users:
        parser.error(f"unknown user {options.user}, or the model reads no user tokens")
    items = recommender.recommend(
        history, options.k, user=options.user, width=options.width, exclude_seen=not options.keep_seen
    )
    if options.json:
        print(json.dumps([item._asdict() for item in items]))
    else:
        for rank, item, title, score in items:
            print(f"{rank:>3}  {item}  {score:.4g}  {title}".rstrip())


if __name__ == "__main__":
    main()
