"""Export to a folder that plain `transformers` loads, in a process without metatoken.

hf/  config.json  model.safetensors  tokenizer files     LoRA merged, OOV tokens as ordinary rows and added tokens
     prefix.safetensors  items.jsonl  metatoken.json      which tokens name which item; the prompt; settings
     leaf.safetensors (`leaf: on`)  users.jsonl (`user_tokens`)  recommend.py  README.md  manifest.json
"""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from metatoken.artifacts import atomic_folder, write_json, write_manifest, write_tensors
from metatoken.errors import ArtifactError, ConfigError
from metatoken.model.folding import plain_model
from metatoken.model.store.card import Finding, called, model_card
from metatoken.tasks.batch import collate
from metatoken.tasks.task import find_task, tasks_of
from metatoken.tokens.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Iterable

    from metatoken.model.model import MetaTokenModel
    from metatoken.model.network import Network
    from metatoken.tokens.vocabulary import Vocabulary

KIND, SCHEMA = "export", 1
COMPACT = """`generate` alone cannot be used with this model: a history is read by the vectors of its items, which
`recommend.py` puts in. A run with `model.history: written` makes an export that it can be used with.
"""
UNASKED = """
The model was trained to answer questions about a user and an item, too ({tasks}). This folder does not answer them: it
has no rating head, no base that the head adds to, and no templates. `metatoken answer` asks the run itself.
"""
CLOSE = 1e-3  # largest difference of a folded logit, relative to the largest logit


def export_model(
    module: MetaTokenModel, folder: str | Path, *, inplace: bool = False, finding: Finding | None = None
) -> None:
    """Writes a plain Hugging Face folder, whole or not at all, after checking that it scores as the module does.

    Args:
        module: Trained; put into evaluation mode.
        folder: The new folder; an older export there is replaced.
        inplace: Spare a copy of the backbone; the module cannot be used afterwards.
        finding: How good the lists are, for the model card.

    Raises:
        ConfigError: The backbone, or a model without the task `sequential`, cannot be exported.
        ArtifactError: The folder holds something else, or the folded model does not score as the module does.
    """
    if "sequential" not in module.tasks:
        raise ConfigError("export: expected a model with the task sequential, whose prompts need no user")
    if (module.vocabulary.item_codes < 0).any():
        raise ConfigError("export: expected items with equally many tokens; fit the vocabulary with fixed levels")
    network, vocabulary = module.eval().network, module.vocabulary
    trie, meta = Trie.from_codes(vocabulary.item_codes), _meta(module)
    with atomic_folder(folder, kind=KIND) as work, torch.no_grad():
        _tokenizer(module).save_pretrained(work)
        write_tensors(work / "prefix.safetensors", _prefix(trie, module))
        if network.leaf:
            write_tensors(work / "leaf.safetensors", _leaves(network, trie))
        _write_lines(work / "items.jsonl", _items(module))
        if module.user_tokens != "none":
            users = zip(vocabulary.users.raw, module.builder.encoder.users, strict=True)
            _write_lines(work / "users.jsonl", ({"user": raw, "ids": ids.tolist()} for raw, ids in users))
        write_json(work / "metatoken.json", meta)
        source = resources.files("metatoken.model.store")
        (work / "recommend.py").write_text(source.joinpath("standalone.py").read_text("utf-8"), encoding="utf-8")
        card = model_card(_readme(meta, vocabulary, module.tasks), module.settings.backbone, finding)
        (work / "README.md").write_text(card, encoding="utf-8")
        inputs, logits = _probe(module)
        model = plain_model(network, inplace=inplace)  # last, since it may take the network apart
        _check(model, inputs, logits, network.columns)
        _forget_writing(model)
        model.save_pretrained(work)
        write_manifest(work, KIND, SCHEMA, backbone=module.settings.backbone)


def _forget_writing(model: Any) -> None:
    """Leaves of the backbone's settings of writing the ids of tokens: penalties and the like would change lists."""
    import transformers

    settings: Any = transformers.GenerationConfig
    kept = ("bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id")
    model.generation_config = settings(**{name: getattr(model.generation_config, name) for name in kept})


def _tokenizer(module: MetaTokenModel) -> Any:
    """The tokenizer with the OOV tokens added, in the order of their ids."""
    from tokenizers import AddedToken

    tokenizer: Any = copy.deepcopy(module.tokenizer)
    tokens = module.vocabulary.tokens
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])
    ids, columns = tokenizer.convert_tokens_to_ids(tokens), module.network.columns
    if ids != list(range(columns.start, columns.stop)):
        raise ConfigError(f"export: the tokenizer gives {tokens[0]} the id {ids[0]}, the model {columns.start}")
    return tokenizer


def _meta(module: MetaTokenModel) -> dict[str, Any]:
    builder, network = module.builder, module.network
    template, encoder = find_task("sequential").templates[0], builder.encoder
    meta: dict[str, Any] = {
        "backbone": module.settings.backbone,
        "base": network.base,
        "depth": module.vocabulary.depth,
        "n_tokens": module.vocabulary.n_tokens,
        "encoder_decoder": network.backbone.is_encoder_decoder,
        "max_history": builder.max_history,
        "compact": encoder.compact,
        "generated_by": network.generated_by,
        "answer_at": builder.answer_at,
        "leaf": network.leaf,
        "normaliser": module.settings.normaliser,
        "words": "".join(text for _, text in template.pieces(frozenset())),
        "prompt": encoder.prompt(template, None).tolist(),
        "end": encoder.end.tolist(),
    }
    if network.backbone.is_encoder_decoder:
        meta["decoder_start"] = network.backbone.decoder_start
    if module.user_tokens != "none":
        ids = encoder.prompt(template, np.array([-1])).tolist()
        meta["user_prompt"] = [ids[: ids.index(-1)], ids[ids.index(-1) + 1 :]]
    return meta


def _prefix(trie: Trie, module: MetaTokenModel) -> dict[str, np.ndarray]:
    """The trie with token ids in place of codes, int64."""
    names = ("first_child", "leaf_begin", "leaf_end", "leaf_items")
    token, network = np.full(trie.n_nodes, -1), module.network
    begin, end = 1, int(trie.first_child[1])  # nodes of a level are a range
    for level in range(module.vocabulary.depth):
        nodes = torch.arange(begin, end)
        token[begin:end] = network.token_ids(network.generation.token_of(nodes, level)).numpy()
        begin, end = end, int(trie.first_child[end])
    return {**{name: getattr(trie, name).astype(np.int64) for name in names}, "token": token}


def _leaves(network: Network, trie: Trie) -> dict[str, np.ndarray]:
    """Item vectors at the input `[n_items, d]` by item row; at the output, for a plain final state, by leaf."""
    vectors = network.items()
    units = network.generation.scaled(vectors[torch.from_numpy(trie.leaf_items).long()])
    units = network.bridge.outputs(units)
    outputs, bias = network.backbone.norm.fold(units, head_bias=True)
    inputs = network.bridge.inputs(vectors) * network.input_norm
    return {"inputs": inputs.numpy(), "outputs": outputs.numpy(), "bias": bias.numpy()}


def _items(module: MetaTokenModel) -> Iterable[dict[str, Any]]:
    """One line per item row; `prompt` holds the ids that stand for it in a history, where these are not its tokens."""
    vocabulary, encoder = module.vocabulary, module.builder.encoder
    titles = vocabulary.titles or [""] * vocabulary.n_items
    for row, (raw, title) in enumerate(zip(vocabulary.items.raw, titles, strict=True)):
        ids = encoder.items[row].tolist()
        line = {"item": raw, "tokens": vocabulary.tokens_of(item=raw), "title": title, "ids": ids}
        if encoder.read is not encoder.items:
            line |= {"prompt": encoder.read[row].tolist()}
        yield line


def _write_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(value) + "\n" for value in values)


def _readme(meta: dict[str, Any], vocabulary: Vocabulary, tasks: Iterable[str]) -> str:
    text = resources.files("metatoken.model.store").joinpath("export_readme.md").read_text("utf-8")
    if meta["compact"]:  # its histories are read by the items' vectors, which `generate` has not
        text = text[: text.index("With `generate` alone")] + COMPACT
    if unasked := [task.name for task in tasks_of(tasks, "rate", "write")]:
        text += UNASKED.format(tasks=", ".join(unasked))
    gone = {"leaf.safetensors": not meta["leaf"], "users.jsonl": "user_prompt" not in meta}
    text = "".join(line for line in text.splitlines(True) if not any(f"| `{one}`" in line for one in gone if gone[one]))
    values = {
        "BACKBONE": called(meta["backbone"]),
        "ITEMS": f"{vocabulary.n_items:,}",
        "TOKENS": f"{vocabulary.n_tokens:,}",
        "LOADER": "AutoModelForSeq2SeqLM" if meta["encoder_decoder"] else "AutoModelForCausalLM",
        "HISTORY": " ".join(json.dumps(item) for item in vocabulary.items.raw[:3]),
        "FIRST": json.dumps(vocabulary.items.raw[:3]),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _probe(module: MetaTokenModel) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs of a few prompts, and the logits `[4, n_tokens]` that a folded model must give behind each."""
    network, builder, rng = module.network, module.builder, np.random.default_rng(0)
    template = find_task("sequential").templates[0]
    histories = rng.integers(0, module.vocabulary.n_items, (4, min(5, builder.max_history)))
    batch = collate([builder.prompt(template, None, items) for items in histories], builder.encoder.pad_id)
    passage = network.passage(batch, network.items())
    read = passage.inline()
    inputs = {"inputs_embeds": read.vectors, "attention_mask": read.mask}
    if network.backbone.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.full((len(read.vectors), 1), network.backbone.decoder_start)
    elif read.positions is not None:
        inputs["position_ids"] = read.positions
    state = network.backbone.start(passage).last
    return inputs, state @ network.generation.scaled(network.table()).T


def _check(model: Any, inputs: dict[str, Tensor], expected: Tensor, columns: slice) -> None:
    logits = model(**inputs).logits[:, :, columns]
    # Titles make prompts unequally long; a decoder has one position.
    last = inputs["attention_mask"].sum(1) - 1 if logits.shape[1] > 1 else torch.zeros(len(logits), dtype=torch.int64)
    folded = logits[torch.arange(len(logits)), last]
    error = float((folded - expected).abs().max() / expected.abs().max())
    if not error < CLOSE:
        raise ArtifactError(
            f"export: the folded {type(model).__name__} scores differently (relative difference {error:.1e}); "
            "this architecture changes its states after the final norm and cannot be exported"
        )
