"""Pressed encoders of sentences: whole runs, and what sentence-transformers makes of their folders."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROWS
from contract.cases import CASES, shortened

from bertpress import api
from bertpress.engine.loading import packaged_minilm
from bertpress.errors import RequestError
from bertpress.tasks.embedding.layout import Layout, read_layout
from bertpress.tasks.glue import load_glue
from bertpress.tasks.splits import limited
from bertpress.tasks.tables import read_file

from .making import PAIR, write_pairs

pytestmark = pytest.mark.slow

TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
TINYBERT = {"layers": 2, "intermediate": TRAINING, "prediction": TRAINING}
LIBRARY = """
import json, sys
import numpy as np
from sentence_transformers import SentenceTransformer
folders, texts, out = json.loads(sys.stdin.read())
made = {}
for folder in folders:
    model = SentenceTransformer(folder, trust_remote_code=True, device="cpu")
    made[folder] = model.encode(texts)
    made[folder + " modules"] = np.array([type(module).__name__ for module in model])
    made[folder + " length"] = np.array(model.max_seq_length)
np.savez(out, **made)
"""


def of_library(folders: list[Path], texts: list[str], folder: Path) -> dict[str, Any]:
    """What sentence-transformers makes of texts, with models of these folders, in a process of its own."""
    out = folder / "vectors.npz"
    request = json.dumps([[str(one) for one in folders], texts, str(out)])
    subprocess.run([sys.executable, "-c", LIBRARY], input=request, text=True, check=True, capture_output=True)
    with np.load(out) as made:
        return dict(made)


def task_in(folder: Path, columns: tuple[str, ...] = PAIR, **settings: Any) -> dict[str, Any]:
    values = {"name": "files", "data_dir": str(folder), "columns": list(columns), "kind": "embedding"}
    return {**values, **({"embedding": settings} if settings else {})}


def test_the_result_of_every_method_loads_in_sentence_transformers(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    task = task_in(write_pairs(tmp_path / "data"), pooling="max", normalize=True)
    folders = []
    for case in CASES:
        step = {case.name: shortened(case.fields)}
        run = carry_out(step, tmp_path / case.name, model=str(folder_of("bert", None, "embedding")), task=task)
        folders.append(run / f"00-{case.name}" / "model")
        assert read_layout(str(folders[-1])) == Layout(pooling="max", normalize=True)
    pairs = [("the bright day", "a dull road"), ("the house", "a very green tree and the river")]
    made = of_library(folders, [text for pair in pairs for text in pair], tmp_path)
    for folder in folders:
        vectors = made[str(folder)]
        ours = [record["prediction"] for record in api.predict_texts(str(folder), pairs)]
        np.testing.assert_allclose((vectors[::2] * vectors[1::2]).sum(axis=1), ours, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert made[f"{folder} modules"].tolist() == ["Transformer", "Pooling", "Normalize"]


def test_texts_of_pairs_are_augmented(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    augmentation = {"samples": 2, "stopwords": "none", "replace_probability": 1.0}
    step = {"tinybert": {**TINYBERT, "augmentation": augmentation}}
    task = task_in(write_pairs(tmp_path / "data"))
    run = carry_out(step, tmp_path / "run", model=str(folder_of("bert", None, "embedding")), task=task)
    made = json.loads((run / "00-tinybert" / "augmentation" / "manifest.json").read_text())
    assert made["rows"] > made["original_rows"]


def test_pairs_that_belong_together_are_learned(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    same = [{"first": f"{word} day", "second": f"the {word} {word} house"} for word in ("dull", "warm", "slow", "full")]
    task = task_in(write_pairs(tmp_path / "data", train=same * 12, validation=same))
    model = str(folder_of("bert", None, "embedding"))
    step = {"finetune": {"training": {**TRAINING, "epochs": 20}}}
    run = carry_out(step, tmp_path / "run", model=model, task=task, baseline=False)
    result = json.loads((run / "00-finetune" / "result.json").read_text())
    assert (result["kind"], result["primary_metric"]) == ("retrieval", "retrieval_accuracy")
    assert result["metrics"]["validation"]["retrieval_accuracy"] == 1


def test_single_texts_are_distilled_from_vectors_alone(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    task = task_in(write_pairs(tmp_path / "data", "first"), ("first",))
    model = str(folder_of("bert", None, "embedding"))
    run = carry_out({"tinybert": TINYBERT}, tmp_path / "run", model=model, task=task)
    log = [json.loads(line) for line in (run / "00-tinybert" / "prediction" / "log.jsonl").read_text().splitlines()]
    agreement = [entry["eval_agreement"] for entry in log if "eval_agreement" in entry]
    assert max(agreement) > 0.8
    with pytest.raises(RequestError, match="needs labels"):
        carry_out({"finetune": {"training": TRAINING}}, tmp_path / "no", model=model, task=task)


def test_changed_texts_teach_the_teacher_s_vectors(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    task = task_in(write_pairs(tmp_path / "data"))
    step = {"tinybert": {**TINYBERT, "augmentation": {"samples": 2}}}
    run = carry_out(step, tmp_path / "run", model=str(folder_of("bert", None, "embedding")), task=task, baseline=False)
    folder = run / "00-tinybert"
    made = read_file(folder / "augmentation" / "train.parquet")
    originals = [row for row in made if not row["is_augmented"]]
    assert len(originals) == len(ROWS["train"]) < len(made)
    for row in made:
        same = [row[name] == originals[row["source_row"]][name] for name in PAIR]
        assert all(same) if not row["is_augmented"] else sum(same) == 1
    log = [json.loads(line) for line in (folder / "prediction" / "log.jsonl").read_text().splitlines()]
    assert max(entry["step"] for entry in log) == 2 * len(made) // TRAINING["batch_size"]


def test_a_narrower_student_learns_what_is_alike(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    task = task_in(write_pairs(tmp_path / "data"))
    fields = {"shape": {"layers": 2, "hidden_size": 8, "heads": 2, "intermediate_size": 16}, "teacher_check": False}
    training = {"intermediate": TRAINING, "prediction": TRAINING}
    step = {"tinybert": {**fields, **training}}
    run = carry_out(step, tmp_path / "run", model=str(folder_of("bert", None, "embedding")), task=task)
    assert json.loads((run / "00-tinybert" / "result.json").read_text())["layers"] == 2
    assert json.loads((run / "00-tinybert" / "model" / "1_Pooling" / "config.json").read_text())[
        "word_embedding_dimension"
    ] == 8  # fmt: skip


def test_one_that_has_no_head_is_not_asked_to_train_it(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    task, step = task_in(write_pairs(tmp_path / "data")), {"finetune": {"train": "head"}}
    with pytest.raises(RequestError, match="has no head to train"):
        carry_out(step, tmp_path / "run", model=str(folder_of("bert", None, "embedding")), task=task)


SCORED = """
import json, sys
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
folder, first, second, scores = json.loads(sys.stdin.read())
model = SentenceTransformer(folder, device="cpu")
judge = EmbeddingSimilarityEvaluator(first, second, scores, main_similarity="cosine", write_csv=False)
print(json.dumps(judge(model)))
"""


@pytest.mark.data
def test_the_packaged_model_scores_what_sentence_transformers_says() -> None:
    task, some = {"name": "glue/stsb", "kind": "embedding"}, {"validation": 300}
    found = api.evaluate("packaged-minilm", task, limit=some)["validation"]
    rows = limited(load_glue("stsb"), some).splits["validation"]
    columns = [rows[name][:] for name in ("sentence1", "sentence2", "label")]
    request = json.dumps([str(packaged_minilm()), *columns])
    done = subprocess.run([sys.executable, "-c", SCORED], input=request, text=True, check=True, capture_output=True)
    expected = json.loads(done.stdout.splitlines()[-1])
    assert found["spearmanr"] == pytest.approx(expected["spearman_cosine"], abs=1e-4)
    assert found["pearson"] == pytest.approx(expected["pearson_cosine"], abs=1e-4)
    assert 0.82 < found["spearmanr"] < 0.92
