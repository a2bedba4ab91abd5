"""What a model is made of: the settings that are saved beside its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from metatoken.config import SettingError, Settings, filled, setting
from metatoken.errors import hint
from metatoken.model.backbone.presets import PRESETS, PresetSize
from metatoken.tasks.recipe import Recipe, recipe
from metatoken.tasks.task import known_tasks

if TYPE_CHECKING:
    import numpy as np

Tuning = Literal["lora", "full", "frozen"]
MANY = 100_000
"""Items from which on a step is of some of them. A softmax over all would take longer than everything else in it, and
to update all takes longer than the 15,000 rows of a step from 60,000 items on (benchmarks/item_updates.py)."""


@dataclass(frozen=True)
class Weights(Settings):
    """Weights of the parts of the loss; a part of weight 0 is not computed."""

    item: float = setting(1.0, "The item head.", ge=0)
    generation: float = setting(
        0.5, "Tokens, with the item's own vector at the last one; beside the item head they follow its states.", ge=0
    )
    shared: float = setting(0.25, "The last token by its shared vector.", ge=0)
    text: float = setting(0.25, "Words of titles and written answers.", ge=0)
    rating: float = setting(0.5, "The rating head.", ge=0)

    def check(self) -> None:
        """Refuse to learn nothing."""
        if not any(vars(self).values()):
            raise SettingError(("weights",), "expected a part of the loss with a weight above 0, got 0 for each")


@dataclass(frozen=True)
class ModelSettings(Settings):
    """What a model is made of; saved beside its weights."""

    section: ClassVar[str] = "model"

    backbone: str = setting(
        "gpt2-preset", f"{', '.join(PRESETS)}, smollm2-135m, a folder with a Hugging Face model, or a hub name."
    )
    layers: int | None = setting(
        None, "First blocks of a pretrained causal backbone that are kept, with its final norm; by default all.", ge=1
    )
    preset: dict[str, int | float] = setting({}, "Fields of PresetSize for a preset of another size.")
    tuning: Tuning | None = setting(
        None, "What of the backbone trains, beside tokens and heads; by default lora if pretrained, full for a preset."
    )
    lora: dict[str, Any] | None = setting(None, "Options of peft.LoraConfig over those of backbone.adaptation.LORA.")
    gradient_checkpointing: bool = setting(
        False, "Compute a block's activations again in the backward pass: less memory, more time."
    )
    tasks: tuple[str, ...] = setting(("sequential", "direct"), "Names of tasks.")
    max_text: int = setting(64, "Most tokens of a text in a question or an answer.", ge=1)
    feature_words: int = setting(
        0,
        "Where a row has no feature: so many words by which the training texts of its item differ from others, and as "
        "many of its user.",
        ge=0,
    )
    leaf: bool = setting(True, "Score and read an item's last token with the item's own vector.")
    normaliser: Literal["trie", "full"] = setting(
        "trie", "What shared tokens compete with: trie, the choices at their node; full, all OOV tokens."
    )
    item_softmax: Literal["full", "sampled"] | None = setting(
        None, "What the item head trains against: all items, or a sample; by default a sample from 100,000 items on."
    )
    softmax_samples: int = setting(8192, "Items drawn for a step, beside those near its targets.", ge=1, size=False)
    item_updates: Literal["all", "rows"] | None = setting(
        None,
        "Of which items a step moves the free vector: all, or those in its sample and histories (rows), which needs a "
        "sampled item_softmax; by default rows from 100,000 items on, where the softmax is sampled.",
    )
    temperature: float = setting(0.07, "Temperature of the cosine heads.", gt=0)
    alpha: float = setting(1.0, "Weight of the projected centroids.")
    beta: float | None = setting(
        None,
        "Weight of an item's own projected skip-gram vector, which tells what followed in training but not later; by "
        "default 0 for compact histories of a preset, or of a model with items_from, else 1.",
    )
    input_norm: float | None = setting(
        None, "Length of OOV vectors at the input; by default sqrt(dim) for a preset, else that of text rows."
    )
    item_features: str | None = setting(
        None, "Folder of metatoken text-vectors, or of ItemFeatures.save, whose vectors are projected into the items'."
    )
    item_dim: int | None = setting(
        None,
        "Width of item vectors, which the item head compares with a projection of its states; by default that of "
        "items_from, else that of the backbone.",
        ge=2,
    )
    items_from: str | None = setting(
        None, "Run whose trained item vectors the model starts from, item by item; a new item starts from its tokens."
    )
    dropout: float | None = setting(
        None,
        "Dropout of what a pretrained backbone reads; by default 0. A preset has model.preset.dropout.",
        ge=0,
        lt=1,
    )
    history: Literal["compact", "written"] | None = setting(
        None,
        "How a prompt names an item of the history: compact, by its last token alone, read as the item's vector; "
        "written, by all of its tokens, as published. By default compact where items have vectors of their own and "
        "equally many tokens.",
    )
    user_vectors: Literal["as_history", "folded", "none"] | None = setting(
        None,
        "What a prompt without a history knows of a user: none, their tokens; folded, the mean of the vectors of the "
        "user's items in place of the last token; as_history, this mean behind the words, where the newest item of a "
        "history stands. By default as_history where histories are compact.",
    )
    reworded: float | None = setting(
        None,
        "Chance that a step of training reads a template of a task that ranks in part by other words, so that the "
        "model does not go by the words of its few templates; by default .5 for a preset, 0 if pretrained.",
        ge=0,
        le=1,
    )
    reworded_texts: float | None = setting(
        None,
        "Chance that a row of a task that writes is asked in part by other words of its task, so that other wordings "
        "are answered as well; by default 0 for a preset, .5 if pretrained.",
        ge=0,
        le=1,
    )
    user_tokens: Literal["none", "prefix", "out_of_fold", "full"] = setting(
        "none", "From what sequential prompts get user tokens; see metatoken.tasks.user_tokens."
    )
    generated_by: Literal["items", "tokens"] | None = setting(
        None,
        "What ranks the items that the beams find: the item head, or the probability of their tokens. By default the "
        "item head where it is trained and scores the leaves.",
    )
    max_history: int = setting(50, "Items in a prompt.", ge=1)
    titles: bool = setting(
        False, "Write an item's title behind its tokens in histories, and learn to predict it (causal backbones)."
    )
    title_tokens: int = setting(12, "Most text tokens of a title.", ge=1)
    weights: Weights = setting(Weights(), "Weights of the parts of the loss.")
    learning_rate: float | None = setting(
        None, "Learning rate of AdamW; by default 1e-3 if pretrained, by the size of the log for a preset.", gt=0
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW, on matrices, not on tables of rows.", ge=0)
    warmup_steps: int = setting(100, "Steps of linear warm-up, at most a tenth of the run.", ge=0, size=False)
    schedule: Literal["constant", "cosine"] | None = setting(
        None, "After the warm-up: constant, by default for a preset, or cosine to zero at max_epochs, if pretrained."
    )
    seed: int = setting(0, "Seed of the initial weights; in a run, that of the run.", ge=0, key=False, size=False)

    def check(self) -> None:
        """Refuse unknown tasks, and what a preset cannot have."""
        known = list(known_tasks())
        for task in self.tasks or ("",):
            if task not in known:
                remedy = hint(task, known, f"expected some of {', '.join(known)}")
                raise SettingError(("tasks",), f"{f'unknown task {task!r}' if task else 'no task'}; {remedy}")
            if self.tasks.count(task) > 1:
                raise SettingError(("tasks",), f"expected each task once, got {task!r} {self.tasks.count(task)} times")
        if self.backbone in PRESETS:
            self._check_preset()
        if (self.item_softmax, self.item_updates) == ("full", "rows"):
            raise SettingError(
                ("item_updates",), "rows needs item_softmax: sampled, since all items have a part in a full one"
            )
        for name in ("history", "user_vectors", "generated_by"):
            if not self.leaf and (value := getattr(self, name)) in ("compact", "folded", "as_history", "items"):
                raise SettingError((name,), f"{value} works by the items' own vectors, so it needs leaf=true")
        if self.lora is not None and self.tuned != "lora":
            raise SettingError(("lora",), f"only for tuning lora, not for {self.tuning}")

    def _check_preset(self) -> None:
        try:
            PresetSize.of(PRESETS[self.backbone], self.preset)
        except SettingError as error:
            raise error.within("preset") from error.__cause__
        for name in ("layers", "dropout"):
            if getattr(self, name) is not None:
                raise SettingError((name,), f"a preset has its {name} under model.preset; leave model.{name} out")
        if self.lora is not None or self.tuning not in (None, "full"):
            name = "tuning" if self.lora is None else "lora"
            raise SettingError((name,), "a preset has no pretrained weights to adapt; leave it out")

    def samples_of(self, n_items: int) -> int:
        """Items drawn for a step where the catalogue has `n_items`; 0 where the softmax is over all of them."""
        sampled = n_items >= MANY if self.item_softmax is None else self.item_softmax == "sampled"
        return self.softmax_samples if sampled else 0

    def updates_rows(self, n_items: int) -> bool:
        """Whether a step on a catalogue of `n_items` moves the free vectors of those items alone that are in it."""
        wanted = n_items >= MANY if self.item_updates is None else self.item_updates == "rows"
        return wanted and self.samples_of(n_items) > 0

    def recipe(self, n_targets: int | None) -> Recipe:
        """How to train the backbone on a log with so many targets, see `metatoken.tasks.recipe`."""
        return recipe(n_targets, pretrained=self.backbone not in PRESETS)

    def resolved(self, n_targets: int | None) -> Self:
        """The settings with what they leave to a default of presets, or to the size of the log."""
        found = self.recipe(n_targets)
        settings = filled(self, found, "learning_rate", "schedule", "reworded", "reworded_texts")
        if self.backbone not in PRESETS:
            return settings
        size, preset = PresetSize.of(PRESETS[self.backbone], self.preset), self.preset
        if size.dropout is None:
            preset = preset | {"dropout": found.dropout}
        norm = math.sqrt(size.dim) if self.input_norm is None else self.input_norm
        return replace(settings, preset=preset, input_norm=norm)

    def filled(self, other: Self) -> Self:
        """The settings with what they leave open as others have it, those of a run."""
        # Behind the others, where `resolved` puts it, too, so that a saved configuration has the same bytes.
        missing = {"dropout"} & (other.preset.keys() - self.preset.keys())
        settings = filled(
            self, other, "learning_rate", "schedule", "reworded", "reworded_texts", "input_norm", "history",
            "user_vectors", "generated_by", "beta",
        )  # fmt: skip
        return replace(settings, preset=self.preset | {name: other.preset[name] for name in missing})

    @property
    def as_before(self) -> Self:
        """The settings as versions meant them that did not know all of them.

        Histories were written, users read by their tokens, items by their skip-gram vectors, what beams found was
        ranked by its tokens, templates were never reworded, and a preset had two heads.
        """
        before = replace(
            self,
            user_vectors=self.user_vectors or "none",
            generated_by=self.generated_by or "tokens",
            reworded=self.reworded or 0.0,
            reworded_texts=self.reworded_texts or 0.0,
            beta=1.0 if self.beta is None else self.beta,
        )
        if self.history is not None:
            return before
        preset = {"heads": 2} | self.preset if self.backbone in PRESETS else self.preset
        return replace(before, history="written", preset=preset)

    def reading(self, item_tokens: np.ndarray) -> Self:
        """The settings with how prompts name items and users, and what items are made of, for items with these tokens.

        Args:
            item_tokens: int `[n_items, depth]`, -1 padded.

        Raises:
            SettingError: Histories are to be compact, and the items have unequally many tokens.
        """
        fits = item_tokens.shape[1] > 1 and bool((item_tokens >= 0).all())
        if self.history == "compact" and not fits:
            said = "a compact history needs items with equally many tokens, two or more; leave model.history out"
            raise SettingError((self.section, "history"), said)
        history = self.history or ("compact" if self.leaf and fits else "written")
        compact, beta = history == "compact", self.beta
        if beta is None:
            beta = 0.0 if compact and (self.backbone in PRESETS or self.items_from is not None) else 1.0
        user_vectors = self.user_vectors or ("as_history" if compact else "none")
        generated_by = self.generated_by or ("items" if self.leaf and self.weights.item > 0 else "tokens")
        return replace(self, history=history, user_vectors=user_vectors, generated_by=generated_by, beta=beta)

    @property
    def tuned(self) -> Tuning:
        """What of the backbone trains."""
        return self.tuning or ("full" if self.backbone in PRESETS else "lora")
