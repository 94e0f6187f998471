"""Make a fine-tuned encoder smaller and faster, and know exactly what it cost.

Public names are loaded when first used, so importing the package loads neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "augment": "bertpress.api",
    "calibrate": "bertpress.api",
    "check": "bertpress.api",
    "compress": "bertpress.api",
    "dry_run": "bertpress.api",
    "evaluate": "bertpress.api",
    "explain": "bertpress.api",
    "export": "bertpress.export_requests",
    "finetune": "bertpress.api",
    "import_model": "bertpress.api",
    "measure": "bertpress.api",
    "plan": "bertpress.advising.advice",
    "predict": "bertpress.api",
    "predict_texts": "bertpress.api",
    "pretrain": "bertpress.pretraining",
    "push": "bertpress.publishing",
    "report": "bertpress.api",
    "run_recipe": "bertpress.api",
    "search": "bertpress.search_requests",
    "sub_network": "bertpress.methods.yoco.super_network",
    "sweep": "bertpress.runs.sweeping",
    "Result": "bertpress.api",
    "Bounds": "bertpress.bounds",
    "Recipe": "bertpress.recipe",
    "Runtime": "bertpress.engine.run",
    "Training": "bertpress.methods.method",
    "Augmentation": "bertpress.augmentation",
    "Finetune": "bertpress.methods.finetune",
    "Theseus": "bertpress.methods.theseus",
    "Linear": "bertpress.methods.theseus.rates",
    "Constant": "bertpress.methods.theseus.rates",
    "Custom": "bertpress.methods.theseus.rates",
    "TinyBert": "bertpress.methods.tinybert",
    "Shape": "bertpress.methods.tinybert",
    "TrBert": "bertpress.methods.trbert",
    "Yoco": "bertpress.methods.yoco",
    "Vocabulary": "bertpress.methods.vocabulary",
    "RequestError": "bertpress.errors",
    "AnswerNo": "bertpress.errors",
}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from bertpress.api import (
        Result,
        augment,
        calibrate,
        check,
        compress,
        dry_run,
        evaluate,
        explain,
        finetune,
        import_model,
        measure,
        plan,
        predict,
        predict_texts,
        push,
        report,
        run_recipe,
    )
    from bertpress.augmentation import Augmentation
    from bertpress.bounds import Bounds
    from bertpress.engine.run import Runtime
    from bertpress.errors import AnswerNo, RequestError
    from bertpress.export_requests import export
    from bertpress.methods.finetune import Finetune
    from bertpress.methods.method import Training
    from bertpress.methods.theseus import Theseus
    from bertpress.methods.theseus.rates import Constant, Custom, Linear
    from bertpress.methods.tinybert import Shape, TinyBert
    from bertpress.methods.trbert import TrBert
    from bertpress.methods.vocabulary import Vocabulary
    from bertpress.methods.yoco import Yoco
    from bertpress.methods.yoco.super_network import sub_network
    from bertpress.pretraining import pretrain
    from bertpress.recipe import Recipe
    from bertpress.runs.sweeping import sweep
    from bertpress.search_requests import search


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bertpress' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
