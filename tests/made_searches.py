"""Content of ``found.json`` made by hand: a search of 12 layers, as large as real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from made_runs import result, save, timing

SHAPES = [(heads, width) for width in (512, 768, 1024, 3072) for heads in (4, 8, 12)]
DEPTHS = (6, 8, 10, 12)


def network(depth: int, option: int) -> list[dict[str, int]]:
    """Layers of one shape, but for the first, which has the next larger one."""
    chosen = [min(option + (layer == 0), len(SHAPES) - 1) for layer in range(depth)]
    return [
        {"heads": SHAPES[place][0], "intermediate_size": SHAPES[place][1], "origin": layer}
        for layer, place in enumerate(chosen)
    ]


def costs(layers: list[dict[str, int]], timed: bool = True) -> dict[str, float]:
    """By the closed form of a layer of BERT-base without biases; 1 ms for 10 million parameters."""
    encoder = sum(768 * (4 * 64 * layer["heads"] + 2 * layer["intermediate_size"]) for layer in layers)
    found = {"parameters": encoder + 24_000_000, "encoder_parameters": encoder, "macs": 64 * encoder}
    return {**found, "flops": 2 * found["macs"], **({"latency_ms": encoder / 1e7} if timed else {})}


def point(depth: int, option: int, score: float, timed: bool = True) -> dict[str, Any]:
    """A sub-network with its score, two points to either side of it as the interval."""
    layers = network(depth, option)
    measured = {"split": "validation", "metric": "accuracy", "score": score, "low": score - 0.02, "high": score + 0.02}
    return {"network": layers, "costs": costs(layers, timed), "loss": 1 - score, **measured}


POINTS = ((6, 0), (6, 3), (6, 7), (8, 5), (10, 7), (8, 8), (10, 9), (12, 11))


def learned(rows: int, turn: int = 0) -> list[list[float]]:
    """For each row probabilities of which one stands out, another one from row to row."""
    peaks = [(5 * row + turn) % len(SHAPES) for row in range(rows)]
    return [[0.34 if place == peak else 0.06 for place in range(len(SHAPES))] for peak in peaks]


def found(timed: bool = True) -> dict[str, Any]:
    """A search with a front of eight points, the fourth of which was chosen."""
    points = [point(*shape, 0.8 + 0.01 * place, timed) for place, shape in enumerate(POINTS)]
    space = {
        "layer_sets": [list(range(depth)) for depth in DEPTHS],
        "options": [[list(shape) for shape in SHAPES]] * 12,
        "uniform": False,
        "full": [[12, 3072]] * 12,
    }
    depths = [0.1, 0.4, 0.3, 0.2, *[0.0] * 8]
    searched = [
        {"group": group, "depth": depth, "theta": [[1.0, *[0.0] * 11], *learned(12, group + depth)]}
        for group in (1, 2, 3)
        for depth in DEPTHS
    ]
    return {
        "schema": 1,
        "limits": [{"name": "encoder_parameters", "most": 29_724_000, "asked": "35%"}],
        "chosen": points[3],
        "points": points,
        "largest": {"network": network(12, 11), "costs": costs(network(12, 11))},
        "evaluated": 2400,
        "forwards": 321_000,
        "rows": 1024,
        "rungs": [128, 512, 1024],
        "sub_networks": 9_000_000_000_000,
        "distribution": {"space": space, "theta": [depths, *learned(12)]},
        "space": space,
        "searched": searched,
    }


def make_searched_run(folder: Path, content: Any = None, **changes: Any) -> Path:
    """A run with a step that searched.

    Args:
        content: of its ``found.json``; text is written as it is.
        changes: keys of the content to other values.
    """
    step = result(0.75, 8, timing(1, 1.5, 1.4, 1.6), method="yoco")
    save(folder, {"start": result(0.8, 12, timing(1)), "00-yoco": step})
    content = found() if content is None else content
    text = content if isinstance(content, str) else json.dumps({**content, **changes})
    (folder / "00-yoco" / "search").mkdir()
    (folder / "00-yoco" / "search" / "found.json").write_text(text, encoding="utf-8")
    return folder
