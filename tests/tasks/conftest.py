"""Training batches of the two tasks that rank, over the generated world."""

import pytest

from metatoken import TaskDataModule


@pytest.fixture
def batches(make_module, split):
    """Makes `TrainingBatches` of a small model: parts of a step, fields of the model, options of the data module."""

    def make(
        user_tokens="none", parts=1, tasks=("sequential", "direct"), direct_share=1.0, fields=None, **options
    ):  # fmt: skip
        module = make_module(user_tokens=user_tokens, tasks=tasks, **(fields or {}))
        options = {"batch_size": 16, "direct_share": direct_share} | options
        data = TaskDataModule(split, module.vocabulary, tasks=tasks, **options)
        data.connect(module.reader)
        return data.training_batches(parts)

    return make
