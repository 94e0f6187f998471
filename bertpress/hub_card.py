"""What the Hub reads at the top of a README: what loads a model, what it is for, what it was made of, its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

PIPELINES = {
    "classification": "text-classification",
    "regression": "text-classification",
    "masked-lm": "fill-mask",
    "encoder": "feature-extraction",
    "tagging": "token-classification",
    "mrc": "token-classification",
    "qa": "question-answering",
    "multihop": "question-answering",
    "candidates": "question-answering",
    "choice": "multiple-choice",
    "embedding": "sentence-similarity",
    "retrieval": "sentence-similarity",
}
"""Kind of a task to what the Hub calls it."""


def front_matter(
    *,
    library: str,
    tags: Sequence[str],
    base: str | None,
    title: str,
    task: str | None,
    kind: str | None,
    metrics: Mapping[str, Mapping[str, float]],
    has_head: bool = True,
) -> str:
    """The head of a README, with the lines that enclose it.

    Args:
        library: what loads the model, as the Hub names it.
        base: the name on the Hub of what it was made of.
        title: of the scores.
        task: what it was scored on; None where there is none, and so no scores.
        kind: of that task.
        metrics: split to metric to value.
        has_head: False for a bare encoder.
    """
    from huggingface_hub import EvalResult, ModelCardData

    pipeline = PIPELINES.get(kind or "")
    scores = [
        EvalResult(
            task_type=pipeline or "other",
            dataset_type=str(task),
            dataset_name=str(task),
            dataset_split=split,
            metric_type=name,
            metric_value=round(value, 6),
        )
        for split, values in metrics.items()
        for name, value in values.items()
    ]
    data = ModelCardData(
        library_name=library,
        pipeline_tag=pipeline if has_head else "feature-extraction",
        base_model=base,
        tags=["bertpress", *tags],
        model_name=title if scores else None,
        eval_results=scores or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def name_on_hub(model: str) -> str | None:
    """The name of a model if that is one on the Hub: neither a folder nor what comes in a package."""
    return None if Path(model).exists() or model == "packaged-minilm" else model


def base_of(folder: str) -> str | None:
    """The name on the Hub that the README of a model's folder gives for what it was made of, if it gives one.

    Args:
        folder: empty for a model that was never in one.
    """
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    card = Path(folder) / "README.md"
    try:
        base = (metadata_load(card) or {}).get("base_model") if folder and card.is_file() else None
    except (OSError, ValueError, YAMLError):  # somebody else's file
        return None
    return base if isinstance(base, str) else None
