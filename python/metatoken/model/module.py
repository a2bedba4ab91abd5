"""`MetaTokenModule`: a thin Lightning shell around `Network`.

It builds the backbone and its tokenizer, hands batches to the network, logs, and decides what a checkpoint holds.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from metatoken.errors import ArgumentError, ConfigError
from metatoken.model.backbone.adaptation import adapt, freeze_unread
from metatoken.model.backbone.backbone import Backbone
from metatoken.model.backbone.presets import PRESETS, build_preset
from metatoken.model.backbone.pretrained import keep_layers, load_pretrained
from metatoken.model.network import Network
from metatoken.model.objective import loss_parts
from metatoken.model.settings import ModelSettings
from metatoken.model.store.checkpoints import check_weights, random_state, set_random_state, trainable_names
from metatoken.tasks.examples import Batch, ExampleBuilder
from metatoken.tasks.families import FIELDS, TOKENS, answer_tasks, ranking_tasks
from metatoken.tasks.prompts import PromptEncoder, templates, train_tokenizer
from metatoken.tasks.titles import titled_rows
from metatoken.tokens.features import ItemFeatures
from metatoken.tokens.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.model.answers import RatingBase
    from metatoken.tasks.datamodule import Evaluation
    from metatoken.tokens.vocabulary import Vocabulary


def build_backbone(settings: ModelSettings, texts: Sequence[str] = (), tokenizer: Any = None) -> tuple[nn.Module, Any]:
    """The language model, with what trains of it marked, and its tokenizer, which a preset learns unless given."""
    if settings.backbone in PRESETS:
        if tokenizer is None:
            asked = [q.text for family in answer_tasks(settings.tasks) for q in family.questions if q.seen]
            tokenizer = train_tokenizer(ranking_tasks(settings.tasks), [*asked * 4, *texts])
        model = build_preset(settings.backbone, len(tokenizer), settings.preset)
    else:
        if settings.preset:
            raise ConfigError(f"model.preset: only for presets ({', '.join(PRESETS)}), not for {settings.backbone!r}")
        model, tokenizer = load_pretrained(settings.backbone)
        if settings.layers is not None:
            keep_layers(model, settings.layers)
    checkpointing = settings.gradient_checkpointing
    return adapt(model, settings.tuned, settings.lora, gradient_checkpointing=checkpointing), tokenizer


class MetaTokenModule(L.LightningModule):
    """Fine-tunes a language model to recommend with OOV tokens.

    Args:
        vocabulary: Tokens of users and items.
        settings: A ready `ModelSettings`; or give its fields as keyword arguments.
        features: float `[n_items, f]` item features, in place of reading `settings.item_features`.
        texts: Training texts (train only) that the tokenizer of a preset learns from, beside prompts and titles.
        tokenizer: Of a preset, in place of training one.
        ratings: What the values of the rating head mean; rating tasks need it.
        **fields: Fields of `ModelSettings`, e.g. `backbone="path/or/name", lora={"r": 16}, tasks=["sequential"]`.

    Raises:
        ConfigError: A setting cannot be used.
        ArgumentError: The vocabulary has no items.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: ModelSettings | None = None,
        *,
        features: np.ndarray | None = None,
        texts: Sequence[str] = (),
        tokenizer: Any = None,
        ratings: RatingBase | None = None,
        **fields: Any,
    ) -> None:
        super().__init__()
        if settings is not None and fields:
            raise ArgumentError("settings", "give either ready settings or single fields, not both")
        if settings is None:
            settings = ModelSettings.of(None, fields)
        self.settings = settings
        self.strict_loading = False  # checkpoints hold trainable weights only; on_load_checkpoint checks them
        self._random_state: dict[str, Any] | None = None
        self.vocabulary = vocabulary
        if features is None and settings.item_features is not None:
            features = ItemFeatures.load(settings.item_features).rows(vocabulary.items.raw)
        self.item_features = features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            titles = _titles(settings, vocabulary)
            model, self.tokenizer = build_backbone(settings, [*(titles or ()), *texts], tokenizer)
            backbone = Backbone(model)
            answers = answer_tasks(settings.tasks)
            if answers and backbone.is_encoder_decoder:
                raise ConfigError(
                    f"model.tasks: {answers[0].name} needs a causal backbone, {settings.backbone} is an encoder-decoder"
                )
            written = titles is not None or any(family.answer == "text" for family in answers)
            if not written or backbone.is_encoder_decoder or settings.weights.text == 0:
                freeze_unread(backbone.bare())
            self.network = Network(
                backbone,
                vocabulary,
                Trie.from_codes(vocabulary.item_codes),
                base=len(self.tokenizer),
                temperature=settings.temperature,
                alpha=settings.alpha,
                input_norm=self._input_norm(backbone),
                leaf=settings.leaf,
                features=None if features is None else torch.from_numpy(features),
                normaliser=settings.normaliser,
                ratings=any(family.answer == "rating" for family in answers),
            )
        self.ratings = ratings
        encoder = PromptEncoder(
            self.tokenizer,
            vocabulary.item_tokens,
            vocabulary.user_tokens,
            base=len(self.tokenizer),
            encoder_decoder=backbone.is_encoder_decoder,
            written=None
            if titles is None
            else titled_rows(
                self.tokenizer,
                titles,
                vocabulary.item_tokens,
                base=len(self.tokenizer),
                limit=settings.title_tokens,
            ),
        )
        self.builder = ExampleBuilder(encoder, settings.max_history)
        self._check_positions(backbone)
        self.train()  # a pretrained backbone comes in evaluation mode, and Lightning keeps modes

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task families of the model."""
        return self.settings.tasks

    @property
    def user_tokens(self) -> str:
        """How sequential prompts use user tokens."""
        return self.settings.user_tokens

    def _input_norm(self, backbone: Backbone) -> float:
        if self.settings.input_norm is not None:
            return self.settings.input_norm
        if self.settings.backbone in PRESETS:
            return 0.25 * math.sqrt(backbone.dim)
        # Through the layer, since some architectures scale what they read.
        with torch.no_grad():
            return float(backbone.embed(torch.arange(len(self.tokenizer))[None])[0].float().norm(dim=1).mean())

    def _check_positions(self, backbone: Backbone) -> None:
        if backbone.max_positions is None:
            return
        encoder = self.builder.encoder
        widest = int(encoder.written.lengths.max())
        user = self.vocabulary.user_tokens[0] if self.vocabulary.n_users else None
        words = max(
            (
                len(encoder.prompt(t, user if task == "direct" or self.user_tokens != "none" else None))
                for task in ranking_tasks(self.tasks)
                for t in templates(task)
            ),
            default=0,
        )
        self._check_text_positions(backbone.max_positions)
        needed = words + (self.settings.max_history + 1) * widest
        if needed > backbone.max_positions:
            room = (backbone.max_positions - words) // widest - 1
            raise ConfigError(
                f"model.max_history: {self.settings.max_history} items of {widest} tokens and {words} words need "
                f"{needed} positions, the backbone has {backbone.max_positions}; use max_history <= {room}"
            )

    def _check_text_positions(self, room: int) -> None:
        """Words, tokens, and the texts of a question and its answer must fit into the backbone."""
        encoder, limit = self.builder.encoder, self.settings.max_text
        for family in answer_tasks(self.tasks):
            for question in family.questions:
                pieces = question.pieces(frozenset((*TOKENS, *FIELDS)) - {family.column})
                texts = sum(kind == "slot" and name in FIELDS for kind, name in pieces) + (family.answer == "text")
                words = sum(len(encoder.words(part)) for kind, part in pieces if kind == "words")
                needed = words + 2 * self.vocabulary.depth + texts * limit + 2
                if needed > room:
                    raise ConfigError(
                        f"model.max_text: {question.id} needs {needed} positions with texts of {limit} tokens, the "
                        f"backbone has {room}; use max_text <= {limit - math.ceil((needed - room) / texts)}"
                    )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Seeds dropout by epoch and batch, as batches are, so that a resumed run repeats an uninterrupted one."""
        place = [self.settings.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002, D102
        weights = self.settings.weights
        scores = self.network(batch, shared=weights.shared > 0, text=weights.text > 0)
        parts = loss_parts(scores, weights, batch.normaliser)
        size = max(1, len(batch.targets) + len(batch.ratings) + len(batch.text_ids))
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, batch_size=size)
        self.log("loss", parts["loss"].detach(), prog_bar=True, logger=False, batch_size=size)
        return parts["loss"]

    def validation_step(self, batch: Evaluation | Batch, batch_idx: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002, D102
        from metatoken.model.heads.ranking import item_scores, target_ranks

        task = self.tasks[dataloader_idx]
        if isinstance(batch, Batch):
            parts = loss_parts(self.network(batch), self.settings.weights)
            values = {f"val/{task}/loss": parts["rating" if "rating" in parts else "text"]}
            size = max(len(batch.ratings), len(batch.text_ids))
        else:
            ranks = target_ranks(item_scores(self.network, batch.batch), batch.targets, batch.seen)
            hit = (ranks <= 10).float()
            values = {f"val/{task}/hr@10": hit.mean(), f"val/{task}/ndcg@10": (hit / torch.log2(ranks + 1.0)).mean()}
            size = len(ranks)
        self.log_dict(values, batch_size=size, add_dataloader_idx=False, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:  # noqa: D102
        trainable = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in trainable if p.ndim > 1], "weight_decay": self.settings.weight_decay},
                {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=self.settings.learning_rate,
            # Under autocast Lightning clips gradients outside the optimiser, which a fused one does not allow.
            fused="mixed" not in self.trainer.precision,
        )
        total = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._rate(step, float(total)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips; the norm over the shards of FSDP is known to the wrapped model alone."""
        from lightning.pytorch.strategies import FSDPStrategy

        if isinstance(self.trainer.strategy, FSDPStrategy) and gradient_clip_val and gradient_clip_algorithm != "value":
            wrapped: Any = self.trainer.model
            wrapped.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(
                optimizer, gradient_clip_val=gradient_clip_val, gradient_clip_algorithm=gradient_clip_algorithm
            )

    def _rate(self, step: int, total: float) -> float:
        # A short run must not end within its warm-up.
        warm = min(1.0, (step + 1) / max(1.0, min(self.settings.warmup_steps, 0.1 * total)))
        if self.settings.schedule == "constant" or not math.isfinite(total):
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1.0, total))))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps trainable weights only, since a frozen backbone is on disk already, and adds the random state."""
        keep = trainable_names(self)
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in keep}
        checkpoint["random_state"] = random_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that every trainable weight is there and no other, since loading is not strict."""
        check_weights(self, checkpoint["state_dict"])
        self._random_state = checkpoint.get("random_state")

    def on_train_start(self) -> None:
        """Takes up the random state of a checkpoint, once everything that draws before the first batch has drawn."""
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None

    def settings_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self.settings)


def _titles(settings: ModelSettings, vocabulary: Vocabulary) -> list[str] | None:
    """The titles that prompts carry, None where they carry none."""
    if not settings.titles:
        return None
    if vocabulary.titles is None or not any(vocabulary.titles):
        raise ConfigError("model.titles: the vocabulary has no titles; name an item table with data.items")
    return vocabulary.titles
