"""More positions than a model was trained with, for inputs that are longer.

New rows of the position table begin as copies or as means of trained ones. Either is only where training starts: what
stands how far from what beyond the trained length is something that no row has learnt.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.encoders import encoder_of
from bertpress.encoders.surgery import share_config
from bertpress.errors import RequestError
from bertpress.models import architecture_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

TABLE = "embeddings.position_embeddings"
"""Where a bare encoder keeps its table of positions, in every architecture that has one."""
WHY_NOT: dict[str, str] = {
    "modernbert": "it turns states by their positions, of which it has no table, and was made for thousands of tokens",
    "deberta-v2": "its layers see distances between tokens, all large ones as the same, and no table of positions",
}
"""Architectures without a table of positions: what they have instead."""


def extend_positions(
    model: PreTrainedModel, new_max: int, how: Literal["tile", "interpolate"] = "tile"
) -> PreTrainedModel:
    """A copy of `model` that reads inputs of `new_max` tokens; it has to be trained on long ones before it is used.

    Args:
        new_max: longest input in tokens, special ones included; the rows that some architectures have before the
            first position come in addition, and stay as they are.
        how: see `longer_table`.

    Raises:
        RequestError: an architecture without a table of positions, or fewer positions than there are.
    """
    config = with_positions(model.config, new_max)
    encoder = encoder_of(config)
    name = f"{model.base_model_prefix}.{TABLE}.weight" if model.base_model is not model else f"{TABLE}.weight"
    weights = dict(model.state_dict())
    first = encoder.first_position(config)
    table = weights[name]
    weights[name] = torch.cat([table[:first], longer_table(table[first:], new_max, how)])
    result: PreTrainedModel = type(model)(config)
    result.load_state_dict(weights)
    share_config(result)
    return result.to(model.device).train(model.training)


def with_positions(config: PretrainedConfig, new_max: int) -> PretrainedConfig:
    """A copy of `config` for inputs of up to `new_max` tokens.

    Raises:
        RequestError: as for `extend_positions`.
    """
    encoder, architecture = encoder_of(config), architecture_of(config)
    if architecture in WHY_NOT:
        raise RequestError(
            f"There is no table of positions to extend in a {architecture}: {WHY_NOT[architecture]}; "
            "leave positions out."
        )
    if getattr(config, "sinusoidal_pos_embds", False):
        raise RequestError(
            "This model's positions are computed (sinusoidal_pos_embds), and no row of them is trained: "
            "leave positions out."
        )
    if new_max < (present := encoder.positions(config)):
        raise RequestError(f"positions must be at least the {present} that the model has, got {new_max}.")
    result = copy.deepcopy(config)
    result.max_position_embeddings = encoder.first_position(config) + new_max
    return result


def longer_table(rows: Tensor, count: int, how: Literal["tile", "interpolate"]) -> Tensor:
    """`count` rows made of the given ones, (rows, width) to (count, width).

    Args:
        how: `tile` leaves the given rows where they are and repeats them from the first one on, so that inputs which
            fitted before are read as before. `interpolate` stretches them: row j stands at j * (rows - 1) / (count - 1)
            and is the mean of its two neighbours by distance, so the first and the last row are those given, and the
            model reads every input differently.
    """
    if how == "tile":
        return rows.repeat(-(-count // len(rows)), 1)[:count]
    stretched = functional.interpolate(rows.T[None], size=count, mode="linear", align_corners=True)
    return stretched[0].T.contiguous()
