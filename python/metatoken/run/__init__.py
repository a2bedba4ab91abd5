"""One run: from a configuration to a folder that holds everything needed to evaluate and to recommend."""

from metatoken.run.baselines import fit_baselines, load_baselines
from metatoken.run.compare import compare_runs
from metatoken.run.config import Config, load_config
from metatoken.run.ensemble import ensemble_run
from metatoken.run.evaluate import evaluate_run
from metatoken.run.extend import extend_run
from metatoken.run.folder import Run, RunFolder, load_run
from metatoken.run.seeds import train_seeds
from metatoken.run.train import read_log, train_run

__all__ = [
    "Config",
    "Run",
    "RunFolder",
    "compare_runs",
    "ensemble_run",
    "evaluate_run",
    "extend_run",
    "fit_baselines",
    "load_baselines",
    "load_config",
    "load_run",
    "read_log",
    "train_run",
    "train_seeds",
]
