"""Checkpoints that TensorFlow wrote, and what becomes of them, against a BERT in numpy over the same variables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from bertpress.engine.loading import auto_class, load_config, loader
from bertpress.errors import RequestError
from bertpress.importing import import_model, tensorflow
from importing import naive_bert
from importing.tensorflow_layouts import (
    CONFIG,
    HEADS,
    IDS,
    LAYOUTS,
    ROWS,
    SEGMENTS,
    STOCK,
    SUCCESSORS,
    VOCABULARY,
    drawn,
)

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

Of = Callable[[str], tuple[Path, dict[str, np.ndarray]]]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of `LAYOUTS`, written by TensorFlow in a process of its own."""
    root = tmp_path_factory.mktemp("tensorflow")
    for seed, (name, shapes) in enumerate(LAYOUTS.items()):
        (root / name).mkdir()
        np.savez(root / name / "source.npz", **drawn(shapes, seed))
        (root / name / "bert_config.json").write_text(json.dumps(CONFIG))
        (root / name / "vocab.txt").write_text("\n".join(VOCABULARY))
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("tensorflow_side.py")), str(root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return root


@pytest.fixture
def of(checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Of:
    """A copy of one of them and its variables; what our reader said of it in that process stands in for reading it."""
    monkeypatch.setattr(tensorflow, "read_variables", lambda prefix: dict(np.load(prefix.parent / "read.npz")))

    def copied(name: str) -> tuple[Path, dict[str, np.ndarray]]:
        folder = Path(shutil.copytree(checkpoints / name, tmp_path / "given" / name))
        return folder, dict(np.load(folder / "source.npz")) if name in LAYOUTS else {}

    return copied


def opened(folder: Path) -> Any:
    return loader(auto_class(load_config(str(folder)).architectures)).from_pretrained(folder).eval()


def run(model: Any) -> Any:
    ids, segments = torch.tensor([IDS]), torch.tensor([SEGMENTS])
    with torch.no_grad():
        return model(input_ids=ids, token_type_ids=segments, attention_mask=torch.ones_like(ids))


def states(found: dict[str, np.ndarray], layers: list[str] = STOCK) -> np.ndarray:
    return naive_bert.states(found, IDS, SEGMENTS, HEADS, layers)


def close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours[0].numpy(), theirs, atol=1e-5)  # ours in single precision


def test_our_reader_gives_what_tensorflow_saved_without_the_optimizer(checkpoints: Path) -> None:
    for name in LAYOUTS:
        source, read = (np.load(checkpoints / name / file) for file in ("source.npz", "read.npz"))
        assert sorted(read) == sorted(source)
        for variable in source:
            np.testing.assert_array_equal(read[variable], source[variable])


def test_a_pretrained_model_keeps_both_heads_and_the_pooler(of: Of, tmp_path: Path) -> None:
    folder, found = of("pretrained")
    out = tmp_path / "out"
    assert import_model(folder, "tensorflow", out) == [
        "4 layers of width 12, heads for masked words and for next sentences"
    ]
    masked, bare = AutoModelForMaskedLM.from_pretrained(out).eval(), AutoModel.from_pretrained(out).eval()
    state = states(found)
    close(run(bare).last_hidden_state, state)
    close(run(bare).pooler_output, naive_bert.pooled(found, state))
    close(run(masked).logits, naive_bert.words(found, state))
    from transformers import BertForPreTraining

    sentences = run(BertForPreTraining.from_pretrained(out).eval()).seq_relationship_logits
    weight, bias = (found[f"cls/seq_relationship/output_{part}"] for part in ("weights", "bias"))
    close(sentences, naive_bert.pooled(found, state) @ weight.T + bias)
    assert masked.get_output_embeddings().weight is masked.get_input_embeddings().weight


def test_a_masked_language_model_without_the_other_head(of: Of, tmp_path: Path) -> None:
    folder, found = of("masked")
    remarks = import_model(folder, "tensorflow", tmp_path / "out")
    assert remarks[0].endswith("a head for masked words")
    assert "the pooler" in remarks[1]
    close(run(opened(tmp_path / "out")).logits, naive_bert.words(found, states(found)))


def test_a_classifier(of: Of, tmp_path: Path) -> None:
    folder, found = of("classifier")
    labels = ("no", "perhaps", "yes")
    remarks = import_model(folder, "tensorflow", tmp_path / "out", head_labels=labels)
    assert remarks[1] == "its outputs are no, perhaps, yes, in this order (--head-labels names them)"
    model = opened(tmp_path / "out")
    assert tuple(model.config.id2label.values()) == labels
    expected = naive_bert.pooled(found, states(found)) @ found["output_weights"].T + found["output_bias"]
    close(run(model).logits, expected)


def test_spans_that_answer_questions(of: Of, tmp_path: Path) -> None:
    folder, found = of("squad")
    import_model(folder, "tensorflow", tmp_path / "out")
    result = run(opened(tmp_path / "out"))
    expected = states(found) @ found["cls/squad/output_weights"].T + found["cls/squad/output_bias"]
    close(result.start_logits, expected[:, 0])
    close(result.end_logits, expected[:, 1])


@pytest.mark.parametrize("name", ["bare", "poolerless"])
def test_a_bare_encoder_and_what_belongs_nowhere(of: Of, tmp_path: Path, name: str) -> None:
    folder, found = of(name)
    remarks = import_model(folder, "tensorflow", tmp_path / "out")
    left = ["left out, as no stock model has a place for it: crf/transitions"] if name == "bare" else []
    assert remarks == ["4 layers of width 12, no head", *left]
    assert opened(tmp_path / "out").config.architectures == ["BertModel"]
    close(run(opened(tmp_path / "out")).last_hidden_state, states(found))


def test_the_successor_of_theseus_stands_alone(of: Of, tmp_path: Path) -> None:
    folder, found = of("theseus")
    remarks = import_model(folder, "tensorflow", tmp_path / "out")
    assert remarks[:2] == [
        "2 successor layers of width 12, a classifier",
        "the predecessor in the same checkpoint was left out",
    ]
    model = opened(tmp_path / "out")
    assert model.config.num_hidden_layers == 2
    state = states(found, list(SUCCESSORS))
    close(run(model).logits, naive_bert.pooled(found, state) @ found["output_weights"].T + found["output_bias"])


def test_two_softmaxes_become_starts_and_ends(of: Of, tmp_path: Path) -> None:
    folder, found = of("stage-2")
    remarks = import_model(folder, "tensorflow", tmp_path / "out")
    assert "kind mrc" in remarks[0]
    model = opened(tmp_path / "out")
    assert tuple(model.config.id2label.values()) == ("start", "end")
    ours, state = run(model).logits[0].sigmoid().numpy(), states(found, list(SUCCESSORS))
    for column, name in enumerate(("dense", "dense_1")):
        logits = naive_bert.dense(state, found, name)
        np.testing.assert_allclose(ours[:, column], naive_bert.softmax(logits)[:, 1], atol=1e-5)


def test_case_is_read_from_the_vocabulary_or_given(of: Of, tmp_path: Path) -> None:
    folder, _ = of("bare")
    import_model(folder, "tensorflow", tmp_path / "read")
    import_model(folder, "tensorflow", tmp_path / "given-case", cased=True)
    lower, cased = (AutoTokenizer.from_pretrained(tmp_path / name) for name in ("read", "given-case"))
    assert lower.model_max_length == ROWS
    assert lower("A")["input_ids"] == [2, VOCABULARY.index("a"), 3]
    assert cased("A")["input_ids"] == [2, VOCABULARY.index("[UNK]"), 3]
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    import_model(folder, "tensorflow", tmp_path / "settings")
    assert AutoTokenizer.from_pretrained(tmp_path / "settings")("A") == cased("A")
    refused(folder, tmp_path / "out", "tokenizer_config.json says how capital letters", cased=False)


def test_configuration_and_vocabulary_may_lie_with_the_model_that_training_began_with(of: Of, tmp_path: Path) -> None:
    folder, found = of("classifier")
    start = tmp_path / "chinese_L-12"
    start.mkdir()
    for file, name in (("bert_config.json", "bert_config_small.json"), ("vocab.txt", "vocab.txt")):
        (folder / file).rename(start / name)
    refused(folder, tmp_path / "out", "no bert_config.json in")
    import_model(folder, "tensorflow", tmp_path / "out", tokenizer=str(start))
    import_model(folder, "tensorflow", tmp_path / "file", tokenizer=str(start / "vocab.txt"))
    expected = naive_bert.pooled(found, states(found)) @ found["output_weights"].T + found["output_bias"]
    for name in ("out", "file"):
        close(run(opened(tmp_path / name)).logits, expected)


@pytest.mark.parametrize("ending", ["", ".index", ".meta", ".data-00000-of-00001"])
def test_a_checkpoint_is_named_by_its_path(of: Of, tmp_path: Path, ending: str) -> None:
    folder, _ = of("bare")
    import_model(folder / f"model.ckpt-5{ending}", "tensorflow", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def refused(given: Path, out: Path, match: str, **fields: Any) -> None:
    with pytest.raises(RequestError, match=match):
        import_model(given, **{"source": "tensorflow", "out": out, **fields})
    assert not out.exists()


def test_which_of_several_checkpoints(of: Of, tmp_path: Path) -> None:
    folder, _ = of("bare")
    for file in folder.glob("model.ckpt-5.*"):
        shutil.copy(file, file.with_name(file.name.replace("-5", "-9")))
    import_model(folder, "tensorflow", tmp_path / "named")  # by TensorFlow's own file, whose path is of another folder
    (folder / "checkpoint").write_text('model_checkpoint_path: "C:\\\\runs\\\\model.ckpt-7"\n')
    refused(folder, tmp_path / "out", r"names model.ckpt-7, of which there is no model.ckpt-7.index")
    (folder / "checkpoint").unlink()
    refused(folder, tmp_path / "out", r"holds 2 checkpoints \(model.ckpt-5, model.ckpt-9\)")
    refused(folder / "model.ckpt-6", tmp_path / "out", r"no model.ckpt-6.index")
    for file in folder.glob("*.index"):
        file.unlink()
    refused(folder, tmp_path / "out", "no file that ends with .index")


def test_other_checkpoints(of: Of, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = "expected a variable bert/embeddings/word_embeddings, found logits/bias, resnet/conv1/kernel"
    refused(of("other")[0], out, found)
    refused(of("electra")[0], out, "ELECTRA's")
    objects, _ = of("objects")
    for file in ("bert_config.json", "vocab.txt"):
        shutil.copy(tmp_path / "given" / "other" / file, objects)
    refused(objects, out, "objects of TensorFlow 2")


def test_what_does_not_fit(of: Of, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder, _ = of("classifier")
    refused(folder, out, "names 2 labels, but the head has 3", head_labels=("no", "yes"))
    refused(of("squad")[0], out, "names the outputs of a classifier", head_labels=("no", "yes"))
    refused(folder, out, "--keep-head is for tinybert", keep_head=True)
    for field, value in (("num_hidden_layers", 3), ("num_hidden_layers", 5), ("intermediate_size", 21)):
        (folder / "bert_config.json").write_text(json.dumps({**CONFIG, field: value}))
        refused(folder, out, "does not fit its config")
    (folder / "bert_config.json").write_text(json.dumps({**CONFIG, "vocab_size": 30}))
    refused(folder, out, "The tokenizer has 40 tokens")
    (folder / "bert_config.json").write_text("rubbish")
    refused(folder, out, "does not describe a BERT")
    (folder / "bert_config.json").write_text(json.dumps(CONFIG))
    (folder / "bert_config_2.json").write_text(json.dumps(CONFIG))
    refused(folder, out, "holds 2 files")
    (folder / "bert_config_2.json").unlink()
    (folder / "vocab.txt").unlink()
    refused(folder, out, "There is no vocab.txt")
    refused(folder, out, "There is no vocab.txt", tokenizer=str(folder))


def command(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bertpress", "import", *words]
    return subprocess.run(line, capture_output=True, text=True)


def test_the_command_reads_by_tensorflow_and_says_nothing_of_its_own(checkpoints: Path, tmp_path: Path) -> None:
    folder, out = checkpoints / "classifier", tmp_path / "out"
    done = command(str(folder), "--from", "tensorflow", "--out", str(out), "--head-labels", "no,perhaps,yes", "--cased")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "4 layers of width 12, a classifier",
        "its outputs are no, perhaps, yes, in this order (--head-labels names them)",
        str(out),
    ]
    found = dict(np.load(folder / "source.npz"))
    expected = naive_bert.pooled(found, states(found)) @ found["output_weights"].T + found["output_bias"]
    close(run(opened(out)).logits, expected)


def test_a_broken_file_is_refused_in_a_sentence(checkpoints: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints / "bare", tmp_path / "broken"))
    (folder / "model.ckpt-5.index").write_bytes(b"rubbish")
    done = command(str(folder), "--from", "tensorflow", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "no readable TensorFlow checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_tensorflow_the_extra_is_named(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    refused(checkpoints / "bare", tmp_path / "out", r'pip install "bertpress\[tensorflow\]"')
