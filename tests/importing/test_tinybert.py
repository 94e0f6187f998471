"""Checkpoints in the layout of the original program, written by hand, and what becomes of them."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import make_model, make_tokenizer, without_dropout
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertModel

from bertpress.errors import RequestError
from bertpress.importing import import_model
from bertpress.importing.configs import FIELDS
from bertpress.methods.tinybert import TinyBert
from bertpress.methods.tinybert.intermediate import Comparison, Intermediate
from bertpress.methods.tinybert.steps import load_projections

LAYERS, WIDTH, INNER, WORDS, TEACHER = 2, 12, 20, 100, 16
BATCH = {
    "input_ids": torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]]),
    "token_type_ids": torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}
CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "cell": {},
    "emb_size": WIDTH,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": LAYERS,
    "pre_trained": "",
    "structure": [],
    "training": "",
    "type_vocab_size": 2,
    "vocab_size": WORDS,
}

State = dict[str, torch.Tensor]


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, old: bool) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{'gamma' if old else 'weight'}": (WIDTH,), f"{name}.{'beta' if old else 'bias'}": (WIDTH,)}


def encoder_layout(old: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes as the original has them; `old` with those that its loader still renames."""
    tables = {"word": WORDS, "position": 64, "token_type": 2}
    layout: dict[str, tuple[int, ...]] = {
        f"bert.embeddings.{name}_embeddings.weight": (rows, WIDTH) for name, rows in tables.items()
    }
    layout |= norm("bert.embeddings.LayerNorm", old)
    for number in range(LAYERS):
        layer = f"bert.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            layout |= linear(f"{layer}.attention.self.{part}", WIDTH, WIDTH)
        layout |= linear(f"{layer}.attention.output.dense", WIDTH, WIDTH)
        layout |= norm(f"{layer}.attention.output.LayerNorm", old)
        layout |= linear(f"{layer}.intermediate.dense", WIDTH, INNER)
        layout |= linear(f"{layer}.output.dense", INNER, WIDTH) | norm(f"{layer}.output.LayerNorm", old)
    return layout | linear("bert.pooler.dense", WIDTH, WIDTH)


def pretraining_layout(old: bool) -> dict[str, tuple[int, ...]]:
    layout: dict[str, tuple[int, ...]] = {"cls.predictions.bias": (WORDS,)}
    layout |= linear("cls.predictions.transform.dense", WIDTH, WIDTH)
    layout |= norm("cls.predictions.transform.LayerNorm", old)
    return layout | {"cls.predictions.decoder.weight": (WORDS, WIDTH)} | linear("cls.seq_relationship", WIDTH, 2)


def drawn(layout: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Large random values, so that one in a wrong place shows; norms near 1."""
    generator = torch.Generator().manual_seed(seed)
    gains = ("gamma", "LayerNorm.weight")
    return {
        name: name.endswith(gains) + 0.3 * torch.randn(shape, generator=generator) for name, shape in layout.items()
    }


def general(old: bool, projections: str, teacher: int = TEACHER) -> State:
    """A general student; `projections` is fit_dense or fit_denses."""
    names = [projections] if projections == "fit_dense" else [f"fit_denses.{number}" for number in range(LAYERS + 1)]
    layout = encoder_layout(old) | pretraining_layout(old)
    for name in names:
        layout |= linear(name, WIDTH, teacher)
    return drawn(layout)


def of_task(trained: bool, outputs: int = 2) -> State:
    """A student after step 1, or after step 2 where `trained`."""
    layout = encoder_layout(False) | linear("classifier", WIDTH, outputs) | linear("fit_dense", WIDTH, TEACHER)
    state = drawn(layout)
    if not trained:
        state["classifier.bias"].zero_()
    return state


def saved(folder: Path, state: State, file: str = "pytorch_model.bin", words: bool = True, **fields: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    # the format of the PyTorch of that time
    torch.save(state, folder / file, _use_new_zipfile_serialization=False)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **fields}))
    if words:
        tokens = sorted(make_tokenizer().get_vocab().items(), key=lambda item: item[1])
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in tokens))
    return folder


def plain(state: State) -> BertModel:
    """A BERT of transformers with the checkpoint's encoder, put together tensor by tensor."""
    model = BertModel(BertConfig(**{name: CONFIG[name] for name in FIELDS["bert"]}))
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            if name.startswith("bert."):
                new = name.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias")
                own.pop(new).copy_(value)
    assert not own
    return model.eval()


@pytest.mark.parametrize("old", [True, False], ids=["gamma and beta", "weight and bias"])
@pytest.mark.parametrize("projections", ["fit_dense", "fit_denses"])
def test_a_general_student_becomes_a_bare_encoder(tmp_path: Path, old: bool, projections: str) -> None:
    state = general(old, projections)
    remarks = import_model(saved(tmp_path / "general", state), "tinybert", tmp_path / "out")
    assert remarks[:2] == [
        "2 layers of width 12",
        "heads for masked words and next sentences left out: general distillation never trained them",
    ]
    model = AutoModel.from_pretrained(tmp_path / "out").eval()
    ours, theirs = (each(**BATCH, output_hidden_states=True) for each in (model, plain(state)))
    for mine, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
    torch.testing.assert_close(ours.pooler_output, theirs.pooler_output, rtol=0, atol=0)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertModel"])
    assert not {"cell", "emb_size", "pre_trained", "structure", "training"} & set(config)
    assert not list((tmp_path / "out").glob("*.bin"))


def test_the_folder_loads_in_a_process_of_its_own(tmp_path: Path) -> None:
    import_model(saved(tmp_path / "step2", of_task(trained=True)), "tinybert", tmp_path / "bare")
    import_model(tmp_path / "step2", "tinybert", tmp_path / "head", keep_head=True)
    code = (
        "import sys, transformers\n"
        "for loader, folder in zip(('AutoModel', 'AutoModelForSequenceClassification'), sys.argv[1:]):\n"
        "    model, info = getattr(transformers, loader).from_pretrained(folder, output_loading_info=True)\n"
        "    assert not any(info.values()), info\n"
        "    transformers.AutoTokenizer.from_pretrained(folder)\n"
        "    print(type(model).__name__)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "bare"), str(tmp_path / "head")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert printed == ["BertModel", "BertForSequenceClassification"]


def objective(tmp_path: Path, task: Any, **fields: Any) -> tuple[Intermediate, list[str]]:
    """Step 1 of a student from the imported folder, its projections loaded, and what was said of them."""
    method = TinyBert(student=str(tmp_path / "out"), **fields)
    student = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", id2label={0: "bad", 1: "good"})
    teacher = make_model(**without_dropout())
    made = Intermediate(student, task, Comparison(method, student.config, teacher.config), teacher)
    said: list[str] = []
    run: Any = SimpleNamespace(runtime=SimpleNamespace(say=said.append))
    load_projections(made, method.student, run)
    return made, said


def test_a_distillation_finds_a_projection_for_each_hidden_state(tmp_path: Path, task: Any) -> None:
    state = general(False, "fit_denses")
    remark = import_model(saved(tmp_path / "general", state), "tinybert", tmp_path / "out")[-1]
    assert remark.startswith("a projection for each hidden state to width 16")
    assert remark.endswith(f"bertpress tinybert --set student={tmp_path / 'out'}")
    made, said = objective(tmp_path, task)
    assert said == [f"projections from {tmp_path / 'out' / 'projections.safetensors'}"]
    for number in range(LAYERS + 1):
        torch.testing.assert_close(made.projections[str(number)].weight, state[f"fit_denses.{number}.weight"])
        torch.testing.assert_close(made.projections[str(number)].bias, state[f"fit_denses.{number}.bias"])


def test_a_distillation_finds_one_projection_for_all(tmp_path: Path, task: Any) -> None:
    state = general(True, "fit_dense")
    remark = import_model(saved(tmp_path / "general", state), "tinybert", tmp_path / "out")[-1]
    assert remark.startswith("one projection to width 16")
    assert remark.endswith(" --set projection=shared")
    made, _ = objective(tmp_path, task, projection="shared")
    torch.testing.assert_close(made.projections["all"].weight, state["fit_dense.weight"])
    _, said = objective(tmp_path, task)
    assert "not taken up: they are those of all" in said[0]


def test_equal_widths_are_projected_on_request(tmp_path: Path) -> None:
    remark = import_model(saved(tmp_path / "g", general(False, "fit_denses", WIDTH)), "tinybert", tmp_path / "out")[-1]
    assert remark.endswith(" --set projection=per_layer")


def test_what_was_never_trained_is_left_out(tmp_path: Path) -> None:
    state = of_task(trained=False)
    state["fit_dense.bias"].zero_()
    folder = saved(tmp_path / "step1", state)
    remarks = import_model(folder, "tinybert", tmp_path / "out")
    assert remarks == ["2 layers of width 12", "classifier left out: step 1 never trained it"]
    assert not (tmp_path / "out" / "projections.safetensors").exists()
    refused(folder, tmp_path / "head", "no trained classifier", keep_head=True)


def test_a_trained_classifier_is_left_out_with_the_reason(tmp_path: Path) -> None:
    remarks = import_model(saved(tmp_path / "step2", of_task(trained=True)), "tinybert", tmp_path / "out")
    assert "behind a ReLU" in remarks[1]
    assert f"bertpress finetune --model {tmp_path / 'out'} --task" in remarks[1]
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(remark in card for remark in remarks[1:])
    assert set(load_file(tmp_path / "out" / "projections.safetensors")) == {"all.weight", "all.bias"}


def test_a_kept_classifier_is_the_original_s_without_its_relu(tmp_path: Path) -> None:
    state = of_task(trained=True, outputs=3)
    labels = ("contradiction", "entailment", "neutral")
    remarks = import_model(
        saved(tmp_path / "step2", state), "tinybert", tmp_path / "out", head_labels=labels, keep_head=True
    )
    assert remarks[1].startswith("warning: the classifier was trained behind a ReLU")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert tuple(model.config.id2label.values()) == labels
    pooled = plain(state)(**BATCH).pooler_output
    without = pooled @ state["classifier.weight"].T + state["classifier.bias"]
    original = pooled.relu() @ state["classifier.weight"].T + state["classifier.bias"]
    torch.testing.assert_close(model(**BATCH).logits, without)
    assert (without - original).abs().max() > 0.1  # what the warning is about


def test_files_named_by_step(tmp_path: Path) -> None:
    folder = saved(tmp_path / "general", general(False, "fit_dense"), "step_7_pytorch_model.bin")
    import_model(folder, "tinybert", tmp_path / "one")
    later = drawn(encoder_layout(False), seed=1)
    saved(folder, later, "step_9_pytorch_model.bin")
    refused(folder, tmp_path / "two", "holds 2 checkpoints .step_7_pytorch_model.bin, step_9_pytorch_model.bin")
    import_model(folder / "step_9_pytorch_model.bin", "tinybert", tmp_path / "two")
    model = AutoModel.from_pretrained(tmp_path / "two").eval()
    torch.testing.assert_close(model(**BATCH).pooler_output, plain(later)(**BATCH).pooler_output)


@pytest.mark.parametrize("capitals", [False, True])
def test_a_vocabulary_alone_tells_whether_texts_are_lower_cased(tmp_path: Path, capitals: bool) -> None:
    folder = saved(tmp_path / "general", drawn(encoder_layout(False)), words=False)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "house", *string.ascii_uppercase * capitals]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    import_model(folder, "tinybert", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("The house") == ["[UNK]" if capitals else "the", "house"]
    assert tokenizer.model_max_length == 64


def refused(checkpoint: Path, out: Path, match: str, **fields: Any) -> None:
    with pytest.raises(RequestError, match=match):
        import_model(checkpoint, **{"source": "tinybert", "out": out, **fields})
    assert not out.exists()


def test_heads_that_do_not_fit_the_request(tmp_path: Path) -> None:
    folder, out = saved(tmp_path / "step2", of_task(trained=True)), tmp_path / "out"
    refused(folder, out, "names 3 labels, but the head has 2", head_labels=("a", "b", "c"), keep_head=True)
    refused(folder, out, "add --keep-head", head_labels=("a", "b"))
    refused(folder, out, "is for tinybert", source="theseus", keep_head=True)


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    state, out = general(True, "fit_dense"), tmp_path / "out"
    refused(saved(tmp_path / "a", {**state, "roberta.x": torch.zeros(1)}), out, "no place for its roberta.x")
    refused(saved(tmp_path / "b", {"fit_dense.bias": torch.zeros(1)}), out, "has no encoder")
    fewer = {name: value for name, value in state.items() if "pooler" not in name}
    refused(saved(tmp_path / "c", fewer), out, "2 weights are missing")
    refused(saved(tmp_path / "d", state, intermediate_size=24), out, "size mismatch for encoder.layer")
    refused(saved(tmp_path / "e", state, num_hidden_layers=1), out, "16 are unknown")
    refused(saved(tmp_path / "f", state, vocab_size=20), out, "tokens, but the model knows 20")


@pytest.mark.parametrize(
    "fields",
    [{"hidden_act": "step"}, {"num_attention_heads": 5}, {"num_attention_heads": 0}, {"hidden_size": "wide"}],
    ids=str,
)
def test_configurations_that_are_none(tmp_path: Path, fields: dict[str, Any]) -> None:
    refused(saved(tmp_path / "a", general(True, "fit_dense"), **fields), tmp_path / "out", "does not describe a BERT")


@pytest.mark.parametrize("content", ["[1]", '{"a": 1}'])
def test_a_configuration_that_says_nothing_is_none(tmp_path: Path, content: str) -> None:
    folder = saved(tmp_path / "a", general(True, "fit_dense"))
    (folder / "config.json").write_text(content)
    refused(folder, tmp_path / "out", "does not describe a BERT")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bertpress import cli

    folder, out = saved(tmp_path / "step2", of_task(trained=True)), tmp_path / "out"
    command = ["import", str(folder), "--from", "tinybert", "--out", str(out), "--keep-head", "--head-labels", "no,yes"]
    monkeypatch.setattr(sys, "argv", ["bertpress", *command])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert AutoModelForSequenceClassification.from_pretrained(out).config.id2label == {0: "no", 1: "yes"}
