"""From settings and a vocabulary to an untrained model: backbone, tokenizer, network, prompts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from metatoken.errors import ConfigError
from metatoken.model.backbone.adaptation import adapt, freeze_unread
from metatoken.model.backbone.backbone import Backbone
from metatoken.model.backbone.given import taken
from metatoken.model.backbone.presets import PRESETS, build_preset
from metatoken.model.backbone.pretrained import keep_layers, load_pretrained
from metatoken.model.network import Network
from metatoken.model.starting import known_items, start_items
from metatoken.tasks.examples import WORDS, ExampleBuilder
from metatoken.tasks.prompts import PromptEncoder, train_tokenizer
from metatoken.tasks.ranking import RANKING
from metatoken.tasks.task import FIELDS, TOKENS, tasks_of
from metatoken.tokens.features import ItemFeatures, checked_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from metatoken.model.settings import ModelSettings
    from metatoken.tasks.task import Task, Template
    from metatoken.tokens.vocabulary import Vocabulary


class Model(NamedTuple):
    """The parts of a model.

    Attributes:
        settings: Those that were asked for, with what they left to a default.
        network: Backbone, OOV tokens and heads.
        builder: Makes prompts of histories.
        tokenizer: The backbone's, without the OOV tokens.
        features: float `[n_items, f]` item features, or None.
    """

    settings: ModelSettings
    network: Network
    builder: ExampleBuilder
    tokenizer: Any
    features: np.ndarray | None


def build_model(
    vocabulary: Vocabulary,
    settings: ModelSettings,
    *,
    features: np.ndarray | None = None,
    texts: Sequence[str] = (),
    tokenizer: Any = None,
    given: nn.Module | None = None,
) -> Model:
    """Builds the parts; arguments as in `metatoken.MetaTokenModule`, `given` a backbone that is an object.

    Raises:
        ConfigError: A setting cannot be used.
    """
    if features is None and settings.item_features is not None:
        features = ItemFeatures.load(settings.item_features).rows(vocabulary.items.raw)
    if features is not None:
        features = checked_features(features, vocabulary.n_items)
    settings = settings.resolved(vocabulary.n_targets).reading(vocabulary.item_tokens)
    titles = _titles(settings, vocabulary)
    known = None if settings.items_from is None else known_items(settings.items_from, vocabulary.items.raw)
    if known is not None:
        settings = _as_wide(settings, known.vectors.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        bare, tokenizer = build_backbone(settings, [*(titles or ()), *texts], tokenizer, given)
        backbone = Backbone(bare, settings.dropout or 0.0)
        # An encoder reads titles, which nothing predicts.
        worded = titles is not None and not backbone.is_encoder_decoder
        if not (worded or tasks_of(settings.tasks, "write")) or settings.weights.text == 0:
            freeze_unread(backbone.bare())
        norm = _input_norm(settings, backbone, len(tokenizer))
        settings = replace(settings, input_norm=norm)
        network = Network(backbone, vocabulary, settings, base=len(tokenizer), input_norm=norm, features=features)
        if known is not None:
            start_items(network, known)
    builder = _builder(settings, vocabulary, backbone, tokenizer, titles)
    return Model(settings, network, builder, tokenizer, features)


def _builder(
    settings: ModelSettings, vocabulary: Vocabulary, backbone: Backbone, tokenizer: Any, titles: list[str] | None
) -> ExampleBuilder:
    """What makes the prompts, all of which the backbone can hold."""
    encoder = PromptEncoder(
        tokenizer,
        vocabulary.item_tokens,
        vocabulary.user_tokens,
        base=len(tokenizer),
        encoder_decoder=backbone.is_encoder_decoder,
        titles=titles,
        title_tokens=settings.title_tokens,
        compact=settings.history == "compact",
        # Behind a question its answer must fit.
        room=None if backbone.max_positions is None else backbone.max_positions - settings.max_text - 1,
    )
    # Learned positions would make a state depend on how many words stand before the history, and the newest item would
    # stand at a place of its own in every history. So they are counted back from the answer.
    learned = encoder.compact and settings.backbone in PRESETS and not backbone.is_encoder_decoder
    reads = any(RANKING[task.name].reads_history for task in tasks_of(settings.tasks, "rank"))
    if settings.max_history == 1 and reads and not backbone.is_encoder_decoder:
        said = "a causal model learns from the items of a history behind the first, so that one item is too few"
        raise ConfigError(f"model.max_history: {said}; use at least 2")
    answer_at = WORDS + settings.max_history * int(encoder.read.lengths.max()) if learned else None
    builder = ExampleBuilder(encoder, settings.max_history, answer_at, user_vectors=settings.user_vectors or "none")
    if backbone.max_positions is not None:
        _check_pair_positions(settings, encoder, backbone.max_positions)
        _check_history_positions(settings, builder, backbone.max_positions)
    return builder


def build_backbone(
    settings: ModelSettings, texts: Sequence[str] = (), tokenizer: Any = None, given: nn.Module | None = None
) -> tuple[nn.Module, Any]:
    """The language model, with what trains of it marked, and its tokenizer, which a preset learns unless given."""
    if settings.backbone in PRESETS:
        if tokenizer is None:
            tokenizer = train_tokenizer(settings.tasks, texts)
        model = build_preset(settings.backbone, len(tokenizer), settings.preset)
    else:
        if settings.preset:
            raise ConfigError(f"model.preset: only for presets ({', '.join(PRESETS)}), not for {settings.backbone!r}")
        if given is None:
            model, own = load_pretrained(settings.backbone)
            tokenizer = own if tokenizer is None else tokenizer
        else:
            model = taken(given, tokenizer)
        if settings.layers is not None:
            keep_layers(model, settings.layers)
    checkpointing = settings.gradient_checkpointing
    return adapt(model, settings.tuned, settings.lora, gradient_checkpointing=checkpointing), tokenizer


def _as_wide(settings: ModelSettings, width: int) -> ModelSettings:
    """The settings of a model that starts from item vectors of this width; from there on they are its own."""
    if settings.item_dim not in (None, width):
        raise ConfigError(
            f"model.item_dim: {settings.items_from} has item vectors of width {width}, got {settings.item_dim}; "
            "leave item_dim out"
        )
    return replace(settings, item_dim=width, items_from=None)


def _titles(settings: ModelSettings, vocabulary: Vocabulary) -> list[str] | None:
    """The titles that prompts carry, None where they carry none."""
    if not settings.titles:
        return None
    if vocabulary.titles is None or not any(vocabulary.titles):
        raise ConfigError("model.titles: the vocabulary has no titles; name an item table with data.items")
    return vocabulary.titles


def _input_norm(settings: ModelSettings, backbone: Backbone, text_tokens: int) -> float:
    if settings.input_norm is not None:
        return settings.input_norm
    # Through the layer, since some architectures scale what they read.
    with torch.no_grad():
        return float(backbone.embed(torch.arange(text_tokens)[None])[0].float().norm(dim=1).mean())


def _check_history_positions(settings: ModelSettings, builder: ExampleBuilder, room: int) -> None:
    """Words, user tokens and the longest history must fit into the backbone."""
    encoder = builder.encoder
    widest, answer = int(encoder.read.lengths.max()), int(encoder.written.lengths.max())
    user = encoder.users[0] if len(encoder.users) else None
    with_user = settings.user_tokens != "none"
    lengths = [
        len(encoder.prompt(template, user if with_user or RANKING[task.name].needs_user else None))
        for task in tasks_of(settings.tasks, "rank")
        for template in task.templates
    ]
    words = max(lengths, default=0)
    begin = words if builder.answer_at is None else max(words, WORDS)
    needed = begin + settings.max_history * widest + answer
    if needed > room:
        fits = (room - begin - answer) // widest
        remedy = f"max_history <= {fits}" if fits > 0 else "more (model.preset.positions), or another backbone"
        raise ConfigError(
            f"model.max_history: {settings.max_history} items of {widest} tokens behind {begin} positions for words "
            f"need {needed}, the backbone has {room}; use {remedy}"
        )


def question_length(encoder: PromptEncoder, task: Task, template: Template, limit: int) -> tuple[int, int]:
    """Tokens of the longest question of a template with texts of `limit` tokens, and how many texts are in it.

    A feature is none of them, since it is cut to what the rest of its question leaves.
    """
    pieces = template.pieces(frozenset((*TOKENS, *FIELDS)) - {task.column, "feature"})
    texts = sum(kind == "slot" and name in FIELDS for kind, name in pieces)
    words = sum(len(encoder.words(part)) for kind, part in pieces if kind == "words")
    return words + 2 * encoder.depth + texts * limit, texts


def _check_pair_positions(settings: ModelSettings, encoder: PromptEncoder, room: int) -> None:
    """Words, tokens, and the texts of a question and its answer must fit into the backbone."""
    limit = settings.max_text
    for task in tasks_of(settings.tasks, "rate", "write"):
        for template in task.templates:
            question, asked = question_length(encoder, task, template, limit)
            texts = asked + (task.kind == "write")
            needed = question + (texts - asked) * limit + 2
            if needed > room:
                raise ConfigError(
                    f"model.max_text: {template.id} needs {needed} positions with texts of {limit} tokens, the "
                    f"backbone has {room}; use max_text <= {limit - math.ceil((needed - room) / texts)}"
                )
