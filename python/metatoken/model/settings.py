"""What a model is made of: the settings that are saved beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from metatoken.errors import ConfigError, hint
from metatoken.model.backbone.adaptation import TUNINGS, Tuning
from metatoken.model.backbone.presets import PRESETS, preset_size
from metatoken.model.objective import Weights
from metatoken.tasks.task import known_tasks


@dataclass(frozen=True)
class ModelSettings:
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
        user_tokens: Whether sequential prompts hold user tokens, and from what: see `metatoken.tasks.user_tokens`.
        item_features: Folder of `metatoken text-vectors` (or `ItemFeatures.save`) whose vectors are projected into
            those of the items.
        max_history: Items in a prompt.
        titles: Write an item's title behind its tokens in histories, and learn to predict it (causal backbones).
        title_tokens: Text tokens of a title at most.
        weights: Of the parts of the loss.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW, on matrices only.
        warmup_steps: Steps of linear warm-up, at most a tenth of the run.
        schedule: `constant` or `cosine` to zero over the run, after the warm-up.
        seed: Of the initial weights.
    """

    backbone: str = "gpt2-preset"
    layers: int | None = None
    preset: dict[str, Any] = field(default_factory=dict)
    tuning: Tuning | None = None
    lora: dict[str, Any] | None = None
    gradient_checkpointing: bool = False
    tasks: tuple[str, ...] = ("sequential", "direct")
    max_text: int = 64
    leaf: bool = True
    normaliser: Literal["trie", "full"] = "trie"
    temperature: float = 0.07
    alpha: float = 1.0
    input_norm: float | None = None
    item_features: str | None = None
    user_tokens: Literal["none", "prefix", "out_of_fold", "full"] = "none"
    max_history: int = 50
    titles: bool = False
    title_tokens: int = 12
    weights: Weights = field(default_factory=Weights)
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    schedule: Literal["constant", "cosine"] = "cosine"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_tasks(self.tasks)
        if self.backbone in PRESETS:
            preset_size(self.backbone, self.preset)
        for name in ("max_history", "max_text", "title_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: expected at least 1, got {getattr(self, name)}")
        if self.normaliser not in ("trie", "full"):
            raise ConfigError(f"model.normaliser: expected trie or full, got {self.normaliser!r}")
        if self.temperature <= 0:
            raise ConfigError(f"model.temperature: expected a number above 0, got {self.temperature}")
        if self.layers is not None and self.backbone in PRESETS:
            raise ConfigError("model.layers: a preset has its layers under model.preset; leave model.layers out")
        if self.tuning not in (None, *TUNINGS):
            raise ConfigError(f"model.tuning: expected one of {', '.join(TUNINGS)}, got {self.tuning!r}")
        if self.backbone in PRESETS and (self.lora is not None or self.tuning not in (None, "full")):
            raise ConfigError("model.lora, model.tuning: a preset has no pretrained weights to adapt; leave them out")
        if self.lora is not None and self.tuned != "lora":
            raise ConfigError(f"model.lora: only for tuning lora, not for {self.tuning}")

    @property
    def tuned(self) -> Tuning:
        """What of the backbone trains."""
        return self.tuning or ("full" if self.backbone in PRESETS else "lora")


def _check_tasks(tasks: tuple[str, ...]) -> None:
    known = list(known_tasks())
    for task in tasks or ("",):
        if task not in known:
            remedy = hint(task, known, f"expected some of {', '.join(known)}")
            raise ConfigError(f"model.tasks: {f'unknown task {task!r}' if task else 'no task'}; {remedy}")


def settings_from_dict(values: dict[str, Any]) -> ModelSettings:
    """Settings from plain values.

    Raises:
        ConfigError: A key is unknown.
    """
    values = dict(values)
    if "weights" in values and not isinstance(values["weights"], Weights):
        values["weights"] = Weights(**values["weights"])
    if "tasks" in values:
        values["tasks"] = tuple(values["tasks"])
    try:
        return ModelSettings(**values)
    except TypeError as error:
        raise ConfigError(f"model: {error}") from error
