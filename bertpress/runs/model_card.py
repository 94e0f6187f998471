"""The README of a model folder: scores in the Hub's format, costs, how it is loaded, how it was made, its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertpress.costs import latency
from bertpress.engine.loading import model_folder
from bertpress.hub_card import base_of, front_matter, name_on_hub
from bertpress.models import is_compact
from bertpress.reloading import LEVELS, loader_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.method import Method
    from bertpress.recipe import Recipe

SENTENCES = ("embedding", "retrieval")
_LINES = {
    "class by name": """from transformers import AutoTokenizer
from transformers.dynamic_module_utils import get_class_from_dynamic_module

model_class = get_class_from_dynamic_module("{name}", "FOLDER")
model = model_class.from_pretrained("FOLDER")
""",
    "remote code": """from transformers import {name}, AutoTokenizer

model = {name}.from_pretrained("FOLDER", trust_remote_code=True)
""",
    "sentence-transformers": """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER"{code})
""",
    "stock": """from transformers import {name}, AutoTokenizer

model = {name}.from_pretrained("FOLDER")
""",
}


def model_card(recipe: Recipe, task: str, method: Method, result: dict[str, Any], model: PreTrainedModel) -> str:
    """The card of what a step made.

    Args:
        task: its name.
        result: its scores and costs.
        model: as it is saved, with or without its head.
    """
    ways, lines, also = [loader_of(model)[0]], loading_lines(model), ""
    if result["kind"] in SENTENCES:
        ways.append("sentence-transformers")
        code = ", trust_remote_code=True" * is_compact(model.config)
        also = f" It also loads {LEVELS[ways[1]]}, which was tried where that package was installed."
        lines = f"{_LINES[ways[-1]].format(code=code)}\n# or the states of its tokens\n{lines}"
    parts = [
        f"{metadata(recipe, task, method, result, model)}\n# A model pressed by bertpress\n",
        f"Made from `{recipe.model}` on `{task}` by `{method.name}` (seed {recipe.seed}).\n",
        f"## Scores\n\n{_scores(result)}",
        f"## Costs\n\n{_costs(result, model)}",
        f"## Loading\n\nIt loads {LEVELS[ways[0]]}; this was tried, in a process without bertpress, before the model "
        f"was called finished.{also}\n\n```python\n{lines}```\n",
        "## Limits\n\n" + "".join(f"- {line}\n" for line in _limits(recipe, method, result, model)),
        f"## How it was made\n\nBy this recipe, with `bertpress compress`:\n\n```yaml\n{recipe.to_yaml()}```\n",
    ]
    return "\n".join(parts)


def metadata(recipe: Recipe, task: str, method: Method, result: dict[str, Any], model: PreTrainedModel) -> str:
    """What the Hub reads of a card: what the model is for, and its scores."""
    return front_matter(
        library="sentence-transformers" if result["kind"] in SENTENCES else "transformers",
        tags=[method.name, *["custom_code"] * is_compact(model.config)],
        base=name_on_hub(recipe.model) or base_of(model_folder(recipe.model)),
        title=f"{task} by {method.name}",
        task=task,
        kind=result["kind"],
        metrics=result["metrics"],
        has_head=method.saves_head,
    )


def _scores(result: dict[str, Any]) -> str:
    if not result["metrics"]:
        return "The data have no labels to score it by.\n"
    lines = [
        f"| {split} | {name} | {100 * value:.1f} |\n"
        for split, values in result["metrics"].items()
        for name, value in values.items()
    ]
    return "| Split | Metric | Score, times 100 |\n|---|---|---|\n" + "".join(lines)


def _costs(result: dict[str, Any], model: PreTrainedModel) -> str:
    costs, table = result["cost"], model.get_input_embeddings().weight
    rows = {
        "Layers": str(result["layers"]),
        "Parameters": f"{costs['parameters']['total']:,}",
        "Parameters of the encoder's layers": f"{costs['parameters']['encoder']:,}",
        f"Parameters of {len(table):,} tokens": f"{table.numel():,}",
        f"Multiply-adds at {costs['macs']['tokens']} tokens": f"{costs['macs']['value']:,.0f}",
        "Weights in memory": f"{costs['size_bytes'] / 1e6:.1f} MB",
    }
    lines = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    times = "".join(f"- {latency.describe(row)}\n" for row in costs["latency"])
    return f"| Cost | |\n|---|---|\n{lines}\nMeasured, with 95 % intervals:\n\n{times}"


def _limits(recipe: Recipe, method: Method, result: dict[str, Any], model: PreTrainedModel) -> list[str]:
    lines = [f"Texts were cut at {recipe.max_length} tokens; how it does on longer ones is not known."]
    if result["metrics"]:
        splits = " and ".join(result["metrics"])
        chose = ", which also chose the checkpoint" * any(step.trainings() for step in recipe.steps)
        lines.append(f"The scores are of {splits}{chose}; on other texts expect less.")
    if recipe.limit:
        rows = ", ".join(f"{count} rows of {split}" for split, count in recipe.limit.items())
        lines.append(f"It saw at most {rows}.")
    if not method.saves_head:
        lines.append("It is saved without its head; the scores are those with it.")
    if "token_reduction" in result["cost"]:
        lines.append("It skips tokens, so what it costs depends on the text; the multiply-adds are a mean.")
    if is_compact(model.config):
        lines.append("Its code is in the files `*.py` beside the weights, which only transformers with PyTorch runs.")
    return lines


def loading_lines(model: PreTrainedModel) -> str:
    """Python that loads a model and its tokenizer from the folder FOLDER, with transformers alone."""
    level, name = loader_of(model)
    code = "" if level == "stock" else ", trust_remote_code=True"
    return f'{_LINES[level].format(name=name)}tokenizer = AutoTokenizer.from_pretrained("FOLDER"{code})\n'
