from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, make_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bertpress.encoders.surgery import keep_layers
from bertpress.errors import RequestError
from bertpress.importing import import_model

BATCH = {"input_ids": torch.tensor([[2, 7, 9, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}


@pytest.fixture
def original(tmp_path: Path, tokenizer: Any) -> tuple[Path, Any]:
    """A checkpoint as the original wrote it (predecessor of 4 layers, successor of 2), and the successor."""
    predecessor, successor = make_model(0), keep_layers(make_model(1), [0, 1])
    state = {name: value for name, value in predecessor.state_dict().items() if "scc" not in name}
    for name, value in successor.state_dict().items():
        if ".layer." in name:
            state[name.replace(".layer.", ".scc_layer.")] = value
        else:
            state[name] = value
    state["bert.embeddings.position_ids"] = torch.arange(64)[None]
    folder = tmp_path / "output" / "checkpoint-50"
    folder.mkdir(parents=True)
    torch.save(state, folder / "pytorch_model.bin")
    config = predecessor.config.to_dict()
    as_then = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    (folder / "config.json").write_text(json.dumps({**config, **as_then, "output_hidden_states": True}))
    tokenizer.save_pretrained(folder.parent)
    return folder, successor


def test_the_successor_is_taken_and_loads_as_any_model(original: tuple[Path, Any], tmp_path: Path) -> None:
    folder, successor = original
    remarks = import_model(folder, "theseus", tmp_path / "out", head_labels=LABELS)
    assert remarks == ["2 successor layers and a head for bad, good; the predecessor in the same file was left out"]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert model.config.num_hidden_layers == 2
    assert tuple(model.config.id2label.values()) == LABELS
    assert model(**BATCH).hidden_states is None
    torch.testing.assert_close(model(**BATCH).logits, successor.eval()(**BATCH).logits)
    words = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert words("the house")["input_ids"] == AutoTokenizer.from_pretrained(folder.parent)("the house")["input_ids"]
    assert not list((tmp_path / "out").glob("*.bin"))


def refused(folder: Path, out: Path, match: str, **fields: Any) -> None:
    with pytest.raises(RequestError, match=match):
        import_model(folder, **{"source": "theseus", "out": out, **fields})
    assert not out.exists() or not (out / "model.safetensors").exists()


def test_wrong_requests(original: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = original
    out = tmp_path / "out"
    refused(folder, out, "did you mean 'theseus'", source="thesus")
    refused(folder.parent / "checkpoint-5", out, "no config.json in .*did you mean 'checkpoint-50'")
    refused(folder, out, "names 3 labels, but the head has 2", head_labels=("a", "b", "c"))
    refused(folder, folder, "is not empty")
    for file in folder.parent.glob("*.json"):
        file.unlink()
    refused(folder, out, "--tokenizer")


def test_a_checkpoint_of_another_program(original: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = original
    state = torch.load(folder / "pytorch_model.bin")
    torch.save({name: value for name, value in state.items() if "scc" not in name}, folder / "pytorch_model.bin")
    refused(folder, tmp_path / "out", "not from Theseus")
    torch.save({name: value for name, value in state.items() if "pooler" not in name}, folder / "pytorch_model.bin")
    refused(folder, tmp_path / "out", "2 weights are missing")
    torch.save({name: value for name, value in state.items() if "classifier" not in name}, folder / "pytorch_model.bin")
    refused(folder, tmp_path / "out", "no trained head")


class Hostile:
    def __reduce__(self) -> Any:
        return (exec, ("open('executed', 'w').write('')",))


def test_a_pickle_that_would_run_code_is_refused(
    original: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, _ = original
    torch.save({"a.scc_layer.0.b": Hostile()}, folder / "pytorch_model.bin")
    refused(folder, tmp_path / "out", "refused; nothing in it was run")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile(), protocol=2))
    refused(folder, tmp_path / "out", "refused; nothing in it was run")
    (folder / "pytorch_model.bin").write_bytes(b"rubbish")
    refused(folder, tmp_path / "out", "pytorch_model.bin")
    assert not Path("executed").exists()
