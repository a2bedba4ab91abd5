"""What a model is made of: the settings that are saved beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from metatoken.config import SettingError, Settings, setting
from metatoken.errors import ConfigError, hint
from metatoken.model.backbone.presets import PRESETS, preset_size
from metatoken.tasks.task import known_tasks

Tuning = Literal["lora", "full", "frozen"]


@dataclass(frozen=True)
class Weights(Settings):
    """Weights of the parts of the loss; a part of weight 0 is not computed."""

    item: float = setting(1.0, "The item head.", ge=0)
    generation: float = setting(0.5, "Tokens, with the item's own vector at the last one.", ge=0)
    shared: float = setting(0.25, "The last token by its shared vector.", ge=0)
    text: float = setting(0.25, "Words of titles and written answers.", ge=0)
    rating: float = setting(0.5, "The rating head.", ge=0)


@dataclass(frozen=True)
class ModelSettings(Settings):
    """What a model is made of; saved beside its weights.

    Attributes:
        backbone: A preset (`gpt2-preset`, `t5-preset`), `smollm2-135m`, a folder with a Hugging Face model, or a hub
            name.
        layers: Keeps the first so many blocks of a pretrained causal backbone, and its final norm; None keeps all.
        preset: Overrides of a preset's size: dim, layers, heads, dropout, positions.
        tuning: What of the backbone trains: `lora`, `full` or `frozen`; None takes `lora` for a pretrained backbone and
            `full` for a preset, which allows nothing else. Tokens and heads always train.
        lora: Options of `peft.LoraConfig` over `metatoken.model.backbone.adaptation.LORA`.
        gradient_checkpointing: Compute a block's activations again in the backward pass: less memory, more time.
        tasks: Names of tasks: those of `metatoken.tasks.task.known_tasks`.
        max_text: Tokens of a text in a question or an answer at most.
        leaf: Score (and read) the last token of an item with the item's own vector.
        normaliser: Shared tokens compete with the choices at their trie node (`trie`) or with all OOV tokens
            (`full`), in training as in decoding.
        temperature: Of the cosine heads.
        alpha: Weight of the projected centroids.
        input_norm: Length of OOV vectors at the input; None takes `.25 sqrt(d)` for a preset and the mean length of
            the text rows for a pretrained backbone.
        item_features: Folder of `metatoken text-vectors` (or `ItemFeatures.save`) whose vectors are projected into
            those of the items.
        user_tokens: Whether sequential prompts hold user tokens, and from what: see `metatoken.tasks.user_tokens`.
        max_history: Items in a prompt.
        titles: Write an item's title behind its tokens in histories, and learn to predict it (causal backbones).
        title_tokens: Text tokens of a title at most.
        weights: Of the parts of the loss.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW, on matrices only.
        warmup_steps: Steps of linear warm-up, at most a tenth of the run.
        schedule: `constant` or `cosine` to zero over the run, after the warm-up.
        seed: Of the initial weights; in a run, that of the run.
    """

    section: ClassVar[str] = "model"

    backbone: str = "gpt2-preset"
    layers: int | None = setting(None, ge=1)
    preset: dict[str, int | float] = setting({})
    tuning: Tuning | None = None
    lora: dict[str, Any] | None = None
    gradient_checkpointing: bool = False
    tasks: tuple[str, ...] = ("sequential", "direct")
    max_text: int = setting(64, ge=1)
    leaf: bool = True
    normaliser: Literal["trie", "full"] = "trie"
    temperature: float = setting(0.07, gt=0)
    alpha: float = 1.0
    input_norm: float | None = None
    item_features: str | None = None
    user_tokens: Literal["none", "prefix", "out_of_fold", "full"] = "none"
    max_history: int = setting(50, ge=1)
    titles: bool = False
    title_tokens: int = setting(12, ge=1)
    weights: Weights = field(default_factory=Weights)
    learning_rate: float = setting(1e-3, gt=0)
    weight_decay: float = setting(0.01, ge=0)
    warmup_steps: int = setting(100, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    seed: int = setting(0, ge=0, key=False)

    def check(self) -> None:
        """Refuses unknown tasks, and what a preset cannot have."""
        known = list(known_tasks())
        for task in self.tasks or ("",):
            if task not in known:
                remedy = hint(task, known, f"expected some of {', '.join(known)}")
                raise SettingError(("tasks",), f"{f'unknown task {task!r}' if task else 'no task'}; {remedy}")
        if self.backbone in PRESETS:
            try:
                preset_size(self.backbone, self.preset)
            except ConfigError as error:
                raise SettingError(("preset",), str(error).removeprefix("model.preset: ")) from error
            if self.layers is not None:
                raise SettingError(("layers",), "a preset has its layers under model.preset; leave model.layers out")
            if self.lora is not None or self.tuning not in (None, "full"):
                name = "tuning" if self.lora is None else "lora"
                raise SettingError((name,), "a preset has no pretrained weights to adapt; leave it out")
        if self.lora is not None and self.tuned != "lora":
            raise SettingError(("lora",), f"only for tuning lora, not for {self.tuning}")

    @property
    def tuned(self) -> Tuning:
        """What of the backbone trains."""
        return self.tuning or ("full" if self.backbone in PRESETS else "lora")
