"""Closed-form costs of every architecture equal counted ones, exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from conftest import ONE_ANSWER, make_config
from families import FAMILIES
from torch.utils.flop_counter import FlopCounterMode

from bertpress.costs.cost import Parameters, layer_macs, macs, parameters
from bertpress.costs.shapes import SHAPES
from bertpress.encoders import ENCODERS, encoder_of
from bertpress.engine.loading import AUTO_CLASSES, OWN_CLASSES
from bertpress.errors import RequestError
from bertpress.models import COMPACT

COMMON: list[dict[str, Any]] = [
    {},
    {"vocab_size": 97},
    {"max_position_embeddings": 77},
    {"num_labels": 5},
    {"tie_word_embeddings": False},
]
BERT_LIKE: list[dict[str, Any]] = [
    *COMMON,
    {"num_hidden_layers": 2},
    {"intermediate_size": 7},
    {"hidden_size": 24, "num_attention_heads": 3},
]
RELATIVE_ONLY = {"share_att_key": False, "position_buckets": -1, "norm_rel_ebd": "none"}
V3 = {"num_hidden_layers": 2, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "pooler_dropout": 0}
CHANGES: dict[str, list[dict[str, Any]]] = {
    "bert": [*BERT_LIKE, {"type_vocab_size": 1}],
    "roberta": [*BERT_LIKE, {"type_vocab_size": 2}],
    "xlm-roberta": BERT_LIKE,
    "distilbert": [
        *COMMON,
        {"n_layers": 2},
        {"hidden_dim": 7},
        {"dim": 24, "n_heads": 3},
        {"sinusoidal_pos_embds": True},
    ],
    "electra": [
        *BERT_LIKE,
        {"embedding_size": 16},
        {"embedding_size": 40},
        {"type_vocab_size": 1},
        {"summary_use_proj": False},
    ],
    "modernbert": [
        *COMMON,
        {"num_hidden_layers": 1, "layer_types": ["full_attention"]},
        {"layer_types": ["sliding_attention"] * 4},
        {"intermediate_size": 7},
        {"hidden_size": 24, "num_attention_heads": 3},
        *[{name: True} for name in ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias")],
        {"decoder_bias": False},
        {"classifier_pooling": "mean"},
    ],
    "deberta-v2": [
        *BERT_LIKE,
        V3,
        {"conv_kernel_size": 3, "conv_act": "gelu", **V3},
        {"conv_kernel_size": 5, "conv_groups": 2},
        {"relative_attention": False, "position_biased_input": True},
        {"relative_attention": False, "norm_rel_ebd": "layer_norm"},
        {"type_vocab_size": 2},
        {"embedding_size": 12},
        {"embedding_size": 12, "position_biased_input": True, "type_vocab_size": 2},
        {"position_buckets": -1},
        {"position_buckets": -1, "max_relative_positions": 20},
        {"attention_head_size": 8, "pooler_hidden_size": 16},
        RELATIVE_ONLY,
        *[{**RELATIVE_ONLY, "pos_att_type": kinds} for kinds in ("c2p", "p2c")],
        {"pos_att_type": "c2p"},
        {"pos_att_type": ["p2c"]},
        {"legacy": False},
        {"legacy": False, "tie_word_embeddings": False},
    ],
}
CELLS = [(family, changes) for family, all_changes in CHANGES.items() for changes in all_changes]
each_cell = pytest.mark.parametrize(("family", "changes"), CELLS, ids=[f"{family}-{cell}" for family, cell in CELLS])


def build(config: Any, head: str | None) -> Any:
    loader = getattr(transformers, "AutoModel" if head is None else AUTO_CLASSES[head])
    model = loader.from_config(config, attn_implementation="eager")
    return model.eval().requires_grad_(False)  # the counter stumbles over a parameter that is passed to a module


def counted_macs(model: Any, tokens: int, batch: int) -> int:
    options = (1,) if type(model).__name__.endswith("ForMultipleChoice") else ()
    ids = torch.ones(batch, *options, tokens, dtype=torch.long)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=ids)
    return int(counter.get_total_flops()) // 2


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_architecture_has_a_cost_and_a_tiny_model_and_every_head() -> None:
    assert set(ENCODERS) == set(SHAPES) == set(CHANGES) == set(FAMILIES)
    for family in FAMILIES:
        own = set(OWN_CLASSES) if family in COMPACT else set()
        assert {None, *ENCODERS[family].heads} == {*AUTO_CLASSES, *own}
        assert set(SHAPES[family](make_config(family)).tops) >= {*AUTO_CLASSES, *own}


@each_cell
@pytest.mark.parametrize("head", [*AUTO_CLASSES])
def test_costs_equal_the_counted_ones(family: str, changes: dict[str, Any], head: str | None) -> None:
    if head == "question-answering":  # which has a start and an end, no more
        changes = {name: value for name, value in changes.items() if name != "num_labels"}
    config = make_config(family, **changes)
    model = build(config, head)
    layers = encoder_of(config).layer_list(model)
    assert parameters(config, head=head) == Parameters(count(model), count(layers))
    for tokens, batch in ((1, 1), (7, 3), (40, 2)):
        positions = 1 if head in ONE_ANSWER else tokens
        assert macs(config, tokens, batch, head=head, positions=positions) == counted_macs(model, tokens, batch)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_more_costs_a_layer_more(family: str) -> None:
    depth = ENCODERS[family].depth_field
    types = {"layer_types": ["full_attention"] * 3} if family == "modernbert" else {}
    deep, shallow = (
        make_config(family, **{depth: 3, **types}),
        make_config(family, **{depth: 2, **{name: value[:2] for name, value in types.items()}}),
    )
    assert macs(deep, 9) - macs(shallow, 9) == layer_macs(deep, 9)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("bert", {"is_decoder": True}, "'bert' model is known for is_decoder False only, not True"),
        ("electra", {"add_cross_attention": True}, "add_cross_attention False only"),
        ("deberta-v2", {"attention_head_size": 4}, "attention_head_size 8 only, not 4"),
        ("deberta-v2", {"pooler_hidden_size": 8}, "pooler_hidden_size 16 only, not 8"),
        ("deberta-v2", {"conv_kernel_size": 4}, "conv_kernel_size"),
    ],
)
def test_what_is_not_covered_is_refused(family: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parameters(make_config(family, **changes))


def test_published_sizes() -> None:
    """Parameters of published models as their configurations describe them."""
    from transformers import AutoConfig

    roberta = AutoConfig.for_model("roberta", max_position_embeddings=514, type_vocab_size=1)
    assert parameters(roberta).total == 124_647_170
    assert parameters(AutoConfig.for_model("distilbert")).total == 66_955_010
    assert parameters(AutoConfig.for_model("modernbert"), head=None).total == 149_014_272
    v3 = {"vocab_size": 128100, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    deberta = AutoConfig.for_model(
        "deberta-v2",
        **v3,
        intermediate_size=3072,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type="p2c|c2p",
        position_biased_input=False,
    )
    assert parameters(deberta, head=None).total == 183_831_552
