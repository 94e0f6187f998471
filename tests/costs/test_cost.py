"""Closed-form costs equal counted ones, exactly."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, GPT2Config

from bertpress.costs.cost import Parameters, layer_macs, macs, parameters, size_bytes
from bertpress.errors import RequestError

TINY = {
    "vocab_size": 50,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 128,
}
CHANGES: list[dict[str, int]] = [
    {},
    {"num_hidden_layers": 5},
    {"intermediate_size": 7},
    {"num_attention_heads": 1},
    {"hidden_size": 24, "num_attention_heads": 6},
    {"num_labels": 1},
    {"num_labels": 5},
    {"vocab_size": 97},
    {"type_vocab_size": 1},
    {"max_position_embeddings": 200},
]


def tiny(**changes: int) -> BertConfig:
    return BertConfig(**(TINY | changes))


CLASSIFIER = "sequence-classification"
CLASSES: dict[str | None, Any] = {
    None: BertModel,
    CLASSIFIER: BertForSequenceClassification,
    "masked-lm": BertForMaskedLM,
}


def build(config: BertConfig, head: str | None, device: str, attention: str) -> Any:
    with torch.device(device):
        return CLASSES[head]._from_config(config, attn_implementation=attention).eval()


def counted_macs(model: Any, tokens: int, batch: int, device: str) -> int:
    ids = torch.ones(batch, tokens, dtype=torch.long, device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids)  # without a mask: transformers looks into it, which the meta device refuses
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("head", CLASSES)
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_parameters_equal_the_counted_ones(changes: dict[str, int], head: str | None) -> None:
    config = tiny(**changes)
    model = build(config, head, "meta", "eager")
    encoder = (model.bert if head else model).encoder
    counted = [sum(parameter.numel() for parameter in part.parameters()) for part in (model, encoder)]
    assert parameters(config, head=head) == Parameters(*counted)


@pytest.mark.parametrize("tokens", [1, 7, 128])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_macs_equal_the_counted_ones(changes: dict[str, int], tokens: int) -> None:
    config = tiny(**changes)
    for head in CLASSES:
        model = build(config, head, "meta", "eager")
        positions = tokens if head == "masked-lm" else 1
        assert macs(config, tokens, batch=3, head=head, positions=positions) == counted_macs(model, tokens, 3, "meta")


def test_the_counter_agrees_but_for_sdpa_on_cpu() -> None:
    config, tokens, batch = tiny(), 7, 3
    counted = {
        (device, attention): counted_macs(build(config, CLASSIFIER, device, attention), tokens, batch, device)
        for device in ("cpu", "meta")
        for attention in ("eager", "sdpa")
    }
    products = batch * config.num_hidden_layers * 2 * tokens**2 * config.hidden_size
    total = macs(config, tokens, batch)
    assert counted.pop(("cpu", "sdpa")) == total - products  # the trap: both products of attention are missed
    assert set(counted.values()) == {total}


def test_bert_base_by_hand() -> None:
    config = BertConfig()  # hidden 768, 12 layers, intermediate 3072, 2 labels
    layer, embeddings, pooler, classifier = 7_087_872, 23_837_184, 768 * 768 + 768, 768 * 2 + 2
    assert parameters(config) == Parameters(embeddings + 12 * layer + pooler + classifier, 12 * layer)
    assert parameters(config).total == 109_483_778
    per_token, quadratic = 4 * 768**2 + 2 * 768 * 3072, 2 * 768
    assert layer_macs(config, 128) == 128 * per_token + 128**2 * quadratic == 931_135_488
    assert macs(config, 128) == 12 * 931_135_488 + 768**2 + 768 * 2


def test_a_masked_language_model_by_hand() -> None:
    config = BertConfig()  # 30,522 tokens
    embeddings, layers = 23_837_184, 12 * 7_087_872
    transform, norm, bias = 768 * 768 + 768, 2 * 768, 30_522  # no pooler, and the output table is the embeddings'
    assert parameters(config, head="masked-lm").total == embeddings + layers + transform + norm + bias == 109_514_298
    each = 768**2 + 768 * 30_522
    assert macs(config, 128, head="masked-lm", positions=19) == 12 * 931_135_488 + 19 * each
    assert macs(config, 128, batch=2, head="masked-lm", positions=128) == 2 * (12 * 931_135_488 + 128 * each)


def test_the_layers_of_bert_add_up() -> None:
    deep, shallow = tiny(num_hidden_layers=4), tiny(num_hidden_layers=3)
    assert macs(deep, 9) - macs(shallow, 9) == layer_macs(deep, 9) == layer_macs(shallow, 9)


def test_an_unknown_model_type_is_refused_with_the_known_ones() -> None:
    for cost in (parameters, lambda config: macs(config, 8), lambda config: layer_macs(config, 8)):
        with pytest.raises(RequestError, match=r"a 'gpt2' model is not known; known: bert, "):
            cost(GPT2Config())


def test_size_is_that_of_the_weights_alone(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There are no weights"):
        size_bytes(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x" * 10)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"x" * 5)
    assert size_bytes(tmp_path) == size_bytes(str(tmp_path)) == 15


def test_a_saved_model_takes_four_bytes_a_parameter(tmp_path: Path) -> None:
    config = tiny()
    build(config, CLASSIFIER, "cpu", "eager").save_pretrained(tmp_path)
    header = size_bytes(tmp_path) - 4 * parameters(config).total
    assert 0 < header < 10_000


def test_importing_costs_loads_no_torch() -> None:
    code = "import sys, bertpress.costs.cost; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
