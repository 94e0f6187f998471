"""The README of a model folder: what the model is, what it scores, how it is loaded without this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertpress.loading import AUTO_CLASSES, auto_class
from bertpress.models import is_compact

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.method import Method
    from bertpress.recipe import Recipe

_AUTO = """from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained("FOLDER"{code})
"""
_BY_NAME = """from transformers import AutoTokenizer
from transformers.dynamic_module_utils import get_class_from_dynamic_module

model_class = get_class_from_dynamic_module("{path}", "FOLDER")
model = model_class.from_pretrained("FOLDER")
"""


def model_card(recipe: Recipe, task: str, method: Method, result: dict[str, Any], model: PreTrainedModel) -> str:
    """The card of what a step made.

    Args:
        task: its name.
        result: its scores and costs.
        model: as it is saved, with or without its head.
    """
    compact = is_compact(model.config)
    table = model.get_input_embeddings().weight
    about = "\nThe files `*.py` beside the weights are the model's code.\n" if compact else ""
    without = "" if method.saves_head else "- saved without its head; the scores are those with it\n"
    scores = "\n".join(
        f"- {split}: " + ", ".join(f"{name} {100 * value:.1f}" for name, value in values.items())
        for split, values in result["metrics"].items()
    )
    return (
        f"# A model pressed by bertpress\n\nMade from `{recipe.model}` on `{task}` by `{method.name}` "
        f"(seed {recipe.seed}).\n\n{scores}\n{without}- {result['layers']} layers, "
        f"{result['cost']['parameters']['total']:,} parameters, {table.numel():,} of them for {len(table):,} tokens\n\n"
        f"```python\n{loading_lines(model)}```\n{about}\n"
        "The recipe that made it is `recipe.yaml` in the run's folder:\n\n"
        f"```yaml\n{recipe.to_yaml()}```\n"
    )


def loading_lines(model: PreTrainedModel) -> str:
    """Python that loads a model and its tokenizer from the folder FOLDER, with transformers alone."""
    code = ", trust_remote_code=True" if is_compact(model.config) else ""
    auto = auto_class([type(model).__name__])
    path = f"{type(model).__module__.rpartition('.')[2]}.{type(model).__name__}"
    lines = (_AUTO if auto in AUTO_CLASSES.values() else _BY_NAME).format(auto=auto, code=code, path=path)
    return f'{lines}tokenizer = AutoTokenizer.from_pretrained("FOLDER"{code})\n'
