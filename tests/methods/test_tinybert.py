from __future__ import annotations

import copy
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import batch_of, make_config, make_masked_task, make_model, make_tokenizer, without_dropout
from datasets import Dataset
from pydantic import ValidationError
from token_tasks import token_task, write_token_tasks

from bertpress import losses
from bertpress.encoders.surgery import keep_layers
from bertpress.engine.loading import load_tokenizer
from bertpress.engine.run import Runtime
from bertpress.engine.teachers import check_vocabulary
from bertpress.errors import RequestError
from bertpress.methods.method import Training
from bertpress.methods.tinybert import Shape, TinyBert
from bertpress.methods.tinybert.checks import check_teacher, task_of_teacher
from bertpress.methods.tinybert.intermediate import Comparison, Intermediate
from bertpress.methods.tinybert.mapping import describe, layer_pairs, rises, weights
from bertpress.methods.tinybert.observing import Wanted, observe
from bertpress.methods.tinybert.prediction import Prediction, loss_of
from bertpress.methods.tinybert.signals import bytes_needed, store
from bertpress.tasks.classification import Classification
from bertpress.tasks.data import TextData

# Layer maps


@pytest.mark.parametrize(
    ("strategy", "student", "teacher", "expected"),
    [
        ("uniform", 4, 12, [3, 6, 9, 12]),
        ("uniform", 6, 12, [2, 4, 6, 8, 10, 12]),
        ("uniform", 5, 12, [2, 5, 7, 10, 12]),
        ("uniform", 3, 6, [2, 4, 6]),
        ("top", 4, 12, [9, 10, 11, 12]),
        ("top", 5, 12, [8, 9, 10, 11, 12]),
        ("bottom", 4, 12, [1, 2, 3, 4]),
    ],
)
def test_maps_of_the_specification(strategy: Any, student: int, teacher: int, expected: list[int]) -> None:
    assert layer_pairs(strategy, student, teacher) == tuple(enumerate(expected, start=1))


def test_uniform_is_the_published_code_where_depths_divide() -> None:
    for student in range(1, 13):
        for factor in range(1, 5):
            expected = tuple((layer, layer * factor) for layer in range(1, student + 1))
            assert layer_pairs("uniform", student, student * factor) == expected


def test_only_the_last_layers_and_own_pairs() -> None:
    assert layer_pairs("last_only", 4, 12) == ((4, 12),)
    assert layer_pairs([(0, 0), (2, 12)], 4, 12) == ((0, 0), (2, 12))
    assert describe(((0, 0), (2, 12))) == "0-0, 2-12"
    assert rises(((1, 2), (2, 4)))
    assert not rises(((1, 4), (2, 2)))


@pytest.mark.parametrize(
    ("strategy", "student", "teacher", "words"),
    [
        ("uniform", 7, 6, "at most the teacher's 6 layers, got 7; give a list of pairs"),
        ([(5, 1)], 4, 12, r"got \[5, 1\]"),
        ([(1, 13)], 4, 12, r"a teacher layer up to 12"),
        ([(1, 2), (1, 3)], 4, 12, "paired twice"),
    ],
)
def test_maps_that_do_not_fit_are_refused(strategy: Any, student: int, teacher: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        layer_pairs(strategy, student, teacher)


def test_weights_are_one_number_or_one_each() -> None:
    assert weights(2, 3, "w") == (2.0, 2.0, 2.0)
    assert weights((1, 0, 3), 3, "w") == (1.0, 0.0, 3.0)
    with pytest.raises(ValueError, match="w: expected one number or 3, got 2"):
        weights((1.0, 2.0), 3, "w")


# Settings


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"layers": 2, "shape": Shape()}, "give one of layers, shape and student, not layers and shape"),
        ({"intermediate": None, "prediction": None}, "both switched off"),
        ({"attention_loss": "head_map"}, "need each other"),
        ({"soft_weight": 0}, "step 2 would train nothing"),
        ({"reduction": "upstream", "attention_implementation": "gram"}, "needs the maps"),
        ({"shape": {"hidden_size": 100, "heads": 12}}, "no multiple of the 12 heads"),
        ({"reduction": "upstream", "signals": "all"}, "of which nothing is stored"),
        ({"hidden_weight": -1.0}, "greater than or equal to 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TinyBert(**fields)


def test_the_plan_has_the_shape_of_the_student() -> None:
    config = make_config()
    assert TinyBert().plan(config).num_hidden_layers == 2
    deberta = make_config("deberta-v2", attention_head_size=8)
    shaped = TinyBert(shape=Shape(layers=2, hidden_size=12, heads=3, intermediate_size=20)).plan(deberta)
    assert shaped.attention_head_size == 4, "which some name besides"
    planned = TinyBert(shape=Shape(layers=3, hidden_size=12, heads=3, intermediate_size=20)).plan(config)
    assert (planned.num_hidden_layers, planned.hidden_size, planned.num_attention_heads) == (3, 12, 3)
    assert planned.id2label == config.id2label
    with pytest.raises(RequestError, match="layers must lie between 1 and the model's 4, got 5"):
        TinyBert(layers=5).plan(config)


def test_the_teacher_s_pass_counts_whoever_it_is(tmp_path: Path) -> None:
    config = make_config()
    assert TinyBert(layers=2).layer_passes(config, "intermediate", 10) == 4 + 3 * 2
    make_config(num_hidden_layers=6).save_pretrained(tmp_path)
    assert TinyBert(layers=2, teacher=str(tmp_path)).layer_passes(config, "intermediate", 10) == 6 + 3 * 2


def test_what_augmentation_takes_is_measured_beforehand(task: Any, tmp_path: Path) -> None:
    make_model(head="masked-lm").save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    runtime = Runtime(device="cpu")
    augmentation = {"masked_lm": str(tmp_path), "samples": 1}
    assert TinyBert(augmentation=augmentation).seconds_before(task, runtime) > 0
    assert TinyBert(augmentation={"samples": 1}).seconds_before(task, runtime) == 0, "vectors are quick"
    assert TinyBert().seconds_before(task, runtime) == 0


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, [1, 3]),
        ({"layers": 3}, [0, 2, 3]),
        ({"start_layers": "bottom"}, [0, 1]),
        ({"start_layers": "top"}, [2, 3]),
        ({"layer_map": "top"}, [2, 3]),
        ({"layer_map": ((0, 0), (1, 1), (2, 4))}, [0, 3]),
        ({"layer_map": ((1, 4), (2, 8))}, [1, 3]),  # layers of a deeper teacher
        ({"layer_map": "last_only"}, [1, 3]),
    ],
)
def test_a_student_starts_from_the_layers_it_learns_from(fields: dict[str, Any], kept: list[int]) -> None:
    assert TinyBert(**fields).kept_layers(make_config()) == kept


def test_a_first_layer_of_another_form_stays_first() -> None:
    assert TinyBert().kept_layers(make_config("modernbert")) == [0, 3]


# Step 1


def intermediate(task: Any, student: Any, teacher: Any, signals: Any = None, **fields: Any) -> Intermediate:
    comparison = Comparison(TinyBert(**fields), student.config, teacher.config)
    return Intermediate(student, task, comparison, teacher, signals)


def distances(objective: Intermediate, batch: Any, split: str = "train") -> tuple[float, float]:
    with torch.no_grad():
        hidden, attention = objective.distances(batch, split)
    return float(hidden), float(attention)


def fresh(**sizes: int) -> Any:
    shape = Shape(**{"layers": 2, "hidden_size": 12, "heads": 2, "intermediate_size": 20, **sizes})
    torch.manual_seed(0)
    teacher = make_model(**without_dropout())
    return type(teacher)(TinyBert(shape=shape).plan(teacher.config)).eval()


@pytest.mark.parametrize("implementation", ["maps", "gram"])
def test_a_copy_of_the_teacher_has_no_distance(task: Any, batch: Any, implementation: str) -> None:
    teacher = make_model(**without_dropout())
    for fields in ({}, {"projection": "per_layer"}, {"attention_loss": "relation"}, {"attention_loss": "mean_heads"}):
        objective = intermediate(
            task, copy.deepcopy(teacher), teacher, layers=4, attention_implementation=implementation, **fields
        ).train()
        hidden, attention = distances(objective, batch)
        assert hidden == pytest.approx(0, abs=1e-6)
        assert attention == pytest.approx(0, abs=1e-4 if implementation == "gram" else 1e-6)


def test_step_1_is_the_sum_of_the_formulas(task: Any, batch: Any) -> None:
    """Against hidden states and scores that stock attention returns, in eager mode."""
    teacher, student = make_model(**without_dropout()), make_model(seed=3, **without_dropout(num_hidden_layers=2))
    objective = intermediate(
        task, student, teacher, hidden_weight=(1.0, 2.0, 0.5), attention_weight=(3.0, 0.25)
    ).train()
    loss = float(objective(**batch)["loss"].detach())

    mask = batch["attention_mask"].float()
    with torch.no_grad():
        own = observe(student, task, batch, Wanted(hidden=(0, 1, 2), attention=(1, 2)))
        other = observe(teacher, task, batch, Wanted(hidden=(0, 2, 4), attention=(2, 4)))
    expected = 0.0
    for number, target, weight in ((0, 0, 1.0), (1, 2, 2.0), (2, 4, 0.5)):
        for row in range(len(mask)):
            length = int(mask[row].sum())
            difference = own.hidden[number][row, :length] - other.hidden[target][row, :length]
            expected += weight * float(difference.square().mean()) / len(mask)
    for layer, target, weight in ((1, 2, 3.0), (2, 4, 0.25)):
        for row in range(len(mask)):
            length = int(mask[row].sum())
            maps = [
                (found.query[row, :, :length] @ found.key[row, :, :length].mT) * found.scaling
                for found in (own.attention[layer], other.attention[target])
            ]
            expected += weight * float((maps[0] - maps[1]).square().mean()) / len(mask)
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("reduction", ["example", "tokens", "upstream"])
@pytest.mark.parametrize("norm", ["none", "l2", "layernorm"])
def test_step_1_takes_means_and_lengths_as_it_is_told(task: Any, batch: Any, reduction: str, norm: str) -> None:
    teacher, student = make_model(**without_dropout()), make_model(seed=3, **without_dropout(num_hidden_layers=2))
    objective = intermediate(task, student, teacher, reduction=reduction, hidden_norm=norm)
    found = distances(objective, batch)
    mask = batch["attention_mask"]
    with torch.no_grad():
        own = observe(student, task, batch, Wanted(hidden=(0, 1, 2), attention=(1, 2)))
        other = observe(teacher, task, batch, Wanted(hidden=(0, 2, 4), attention=(2, 4)))
        hidden = [
            losses.hidden_loss(
                *(losses.normalised(state, norm) for state in (own.hidden[number], other.hidden[target])),
                mask,
                reduction,
            )
            for number, target in ((0, 0), (1, 2), (2, 4))
        ]
        attention = [
            losses.attention_loss(
                own.attention[layer].projections(), other.attention[target].projections(), mask, reduction, "auto"
            )
            for layer, target in ((1, 2), (2, 4))
        ]
    assert found == pytest.approx((float(sum(hidden)), float(sum(attention))), rel=1e-5)
    if (reduction, norm) != ("example", "none"):
        assert found != pytest.approx(distances(intermediate(task, student, teacher), batch), rel=1e-3)


def test_the_student_has_no_dropout_in_step_1_where_that_is_asked(task: Any, batch: Any) -> None:
    teacher = make_model(**without_dropout())
    student = make_model(seed=3, num_hidden_layers=2)
    for dropout in (True, False):
        objective = intermediate(task, student, teacher, student_dropout=dropout).train()
        found = {distances(objective, batch) for _ in range(3)}
        assert (len(found) == 1) != dropout


def test_head_and_pooler_are_not_trained_in_step_1(task: Any, batch: Any) -> None:
    teacher = make_model(**without_dropout())
    objective = intermediate(task, keep_layers(teacher, [1, 3]), teacher).train()
    objective(**batch)["loss"].backward()
    for name, parameter in objective.model.named_parameters():
        trained = not name.startswith(("classifier", "bert.pooler"))
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None) == trained, name
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_unequal_widths_are_projected_and_unequal_heads_related(task: Any, batch: Any) -> None:
    teacher, student = make_model(**without_dropout()), fresh(heads=3)
    objective = intermediate(task, student, teacher).train()
    assert objective.comparison.kind == "relation"
    assert objective.comparison.relation_heads == 4  # the largest divisor of 16 and 12
    assert set(objective.projections) == {"0", "1", "2"}
    assert objective.projections["0"].weight.shape == (16, 12)
    objective(**batch)["loss"].backward()
    assert all(parameter.grad is not None for parameter in objective.projections.parameters())


@pytest.mark.parametrize(
    ("projection", "names"),
    [("shared", {"all"}), ("embed_hidden", {"embeddings", "layers"}), ("per_layer", {"0", "1", "2"})],
)
def test_layouts_of_projections(task: Any, batch: Any, projection: str, names: set[str]) -> None:
    objective = intermediate(task, fresh(), make_model(**without_dropout()), projection=projection).train()
    assert set(objective.projections) == names
    objective(**batch)["loss"].backward()
    assert all(parameter.grad is not None for parameter in objective.projections.parameters())


@pytest.mark.parametrize(
    ("heads", "fields", "words"),
    [
        (3, {"attention_loss": "scores"}, "the student has 3 and the teacher 2; use relation"),
        (2, {"projection": "none"}, "the student has 12 and the teacher 16"),
        (3, {"attention_loss": "head_map", "head_map": (0, 1)}, r"expected 3 numbers from 0 to 1, got \[0, 1\]"),
        (3, {"attention_loss": "relation", "relation_heads": 3}, "must divide the widths"),
        (2, {"attention_map": ((0, 0), (1, 2))}, "embeddings .0. have no attention"),
        (2, {"hidden_weight": (1.0, 2.0)}, "hidden_weight: expected one number or 3, got 2"),
        (2, {"hidden_weight": 0.0, "attention_weight": 0.0}, "neither hidden states nor attention"),
    ],
)
def test_comparisons_that_cannot_be_made_are_refused(heads: int, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Comparison(TinyBert(**fields), fresh(heads=heads).config, make_config()).projections(0.02)


def test_head_map_compares_the_heads_it_names(task: Any, batch: Any) -> None:
    teacher = make_model(**without_dropout())
    plain = intermediate(task, copy.deepcopy(teacher), teacher, layers=4).train()
    crossed = intermediate(task, copy.deepcopy(teacher), teacher, layers=4, attention_loss="head_map", head_map=(1, 0))
    assert distances(plain, batch)[1] < 1e-6 < distances(crossed.train(), batch)[1]


def test_scores_that_are_no_plain_products_are_left_out(task_of: Callable[[str], Any]) -> None:
    teacher = make_model(family="deberta-v2", **without_dropout("deberta-v2"))
    task = task_of("deberta-v2")
    objective = intermediate(task, keep_layers(teacher, [1, 3]), teacher).train()
    assert objective.comparison.attention == ()
    hidden, attention = distances(objective, batch_of(task))
    assert hidden > 0
    assert attention == 0
    with pytest.raises(RequestError, match="relative positions"):
        intermediate(task, keep_layers(teacher, [1, 3]), teacher, attention_loss="scores")


def test_padding_and_neighbours_have_no_influence(task: Any) -> None:
    rows = [task.encoded("train")[row] for row in range(6)]
    teacher = make_model(**without_dropout())
    objective = intermediate(task, keep_layers(teacher, [1, 3]), teacher).train()
    together = sum(distances(objective, task.collate(rows)))
    alone = [sum(distances(objective, task.collate([row]))) for row in rows]
    assert together == pytest.approx(sum(alone) / len(alone), rel=1e-5)


def test_the_best_tenth_of_step_1_has_the_smallest_distance(task: Any) -> None:
    teacher = make_model(**without_dropout())
    objective = intermediate(task, keep_layers(teacher, [1, 3]), teacher)
    assert objective.selection == ("distance", False)
    before = objective.train()
    found = objective.eval().scores("validation", torch.device("cpu"))["distance"]
    rows = task.encoded("validation")
    alone = [sum(distances(before, task.collate([row]), "validation")) for row in rows]
    assert found == pytest.approx(sum(alone) / len(alone), rel=1e-4)


# Step 2


def test_step_2_is_cross_entropy_against_the_teacher(task: Any, batch: Any) -> None:
    teacher, student = make_model(**without_dropout()), make_model(seed=3, **without_dropout(num_hidden_layers=2))
    objective = Prediction(student, task, TinyBert(temperature=2.0), teacher).train()
    loss = objective(**batch)["loss"]
    inputs = {name: batch[name] for name in task.inputs}
    with torch.no_grad():
        own, other = student(**inputs).logits / 2, teacher(**inputs).logits / 2
    expected = -(other.softmax(-1) * own.log_softmax(-1)).sum(-1).mean() * 4
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("soft_cross_entropy", lambda own, other: losses.soft_cross_entropy(own, other, 3.0)),
        ("kl", lambda own, other: losses.kl_divergence(own, other, 3.0)),
        ("mse", losses.logits_mse),
        ("upstream", lambda own, other: losses.upstream_cross_entropy(own, other, 3.0)),
    ],
)
def test_step_2_compares_what_it_is_told_to(name: Any, formula: Any) -> None:
    own, other = torch.randn(4, 3), torch.randn(4, 3)
    found = loss_of(TinyBert(prediction_loss=name, temperature=3.0))(own, other)
    torch.testing.assert_close(found, formula(own, other))


def test_parts_of_step_2_have_their_weights(task: Any, batch: Any) -> None:
    teacher, student = make_model(**without_dropout()), make_model(seed=3, **without_dropout(num_hidden_layers=2))

    def loss(**weights: float) -> float:
        with torch.no_grad():
            return float(Prediction(student, task, TinyBert(**weights), teacher).train()(**batch)["loss"])

    soft, angle = loss(), loss(soft_weight=0, cosine_weight=1)
    assert loss(soft_weight=5, cosine_weight=3) == pytest.approx(5 * soft + 3 * angle, rel=1e-5)


def test_scores_are_the_true_ones_but_of_rows_that_augmentation_made() -> None:
    rows = {"text": ["the house", "a road", "a day", "the tree"], "label": [0.5, 2.0, 1.0, 4.0]}
    splits = {name: Dataset.from_dict(rows) for name in ("train", "validation")}
    data = TextData("files", splits, ("text",), None, ("spearmanr",), "spearmanr")
    scored = Classification(data, make_tokenizer(), 16)
    names = {"id2label": {0: "score"}, "label2id": {"score": 0}}
    teacher, student = (make_model(seed=seed, **without_dropout(**names)) for seed in (1, 3))
    encoded = scored.encoded("train")
    batch = scored.collate([encoded[row] for row in range(4)])
    with torch.no_grad():
        own, other = (
            model(**{name: batch[name] for name in scored.inputs}).logits[:, 0] for model in (student, teacher)
        )
    marks = torch.tensor([0, 1, 0, 1])
    for target, expected in (("auto", torch.where(marks.bool(), other, batch["labels"].to(other))), ("teacher", other)):
        objective = Prediction(student, scored, TinyBert(prediction_loss="mse", regression_target=target), teacher)
        found = objective.train()(**batch, augmented=marks)["loss"]
        assert float(found.detach()) == pytest.approx(float((own - expected).square().mean()), rel=1e-5)


def test_labels_are_believed_on_original_rows_only(task: Any, batch: Any) -> None:
    teacher, student = make_model(**without_dropout()), make_model(seed=3, **without_dropout(num_hidden_layers=2))
    objective = Prediction(student, task, TinyBert(soft_weight=0, hard_weight=1.5), teacher).train()
    inputs = {name: batch[name] for name in task.inputs}
    rows = task.example_losses(student(**inputs), batch)
    assert float(objective(**batch)["loss"].detach()) == pytest.approx(1.5 * float(rows.mean().detach()), rel=1e-5)
    augmented = torch.tensor([1, 0, 0, 1, 0, 0, 0, 1])
    expected = 1.5 * float((rows * (1 - augmented)).mean().detach())
    assert float(objective(**batch, augmented=augmented)["loss"].detach()) == pytest.approx(expected, rel=1e-5)


def test_the_angle_of_the_last_states(task: Any, batch: Any) -> None:
    teacher, student = make_model(**without_dropout()), make_model(seed=3, **without_dropout(num_hidden_layers=2))
    objective = Prediction(student, task, TinyBert(soft_weight=0, cosine_weight=1.0), teacher).train()
    inputs = {name: batch[name] for name in task.inputs}
    own, other = student.bert(**inputs)[0], teacher.bert(**inputs)[0]
    expected = losses.cosine_loss(own, other, batch["attention_mask"])
    assert float(objective(**batch)["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


# Stored signals


@pytest.mark.parametrize("fields", [{}, {"attention_loss": "relation"}])
def test_stored_signals_are_those_of_the_teacher(task: Any, tmp_path: Path, fields: dict[str, Any]) -> None:
    teacher = make_model(**without_dropout())
    student = keep_layers(teacher, [1, 3])
    asking = intermediate(task, student, teacher, **fields).train()
    wanted = asking.comparison.wanted(1) | Wanted(logits=True)
    signals = store(tmp_path / "signals", teacher, task, ["train", "validation"], wanted)
    reading = intermediate(task, student, teacher, signals, **fields).train()
    reading.__dict__["teacher"] = None  # it must not be asked
    rows = [task.encoded("train")[row] for row in (5, 90, 17, 3)]
    batch = task.collate(rows)
    for one, two in zip(distances(asking, batch), distances(reading, batch), strict=True):
        assert one == pytest.approx(two, rel=2e-3)
    with torch.no_grad():
        logits = teacher(**{name: batch[name] for name in task.inputs}).logits
    seen = signals["train"].read(batch["row"], batch["input_ids"].shape[1], torch.device("cpu"))
    torch.testing.assert_close(seen.logits, logits, atol=1e-5, rtol=1e-5)
    files = [*(tmp_path / "signals").rglob("*.tokens"), *(tmp_path / "signals").rglob("*.logits")]
    size = sum(file.stat().st_size for file in files)
    assert size == bytes_needed(teacher, task, ["train", "validation"], wanted)


def test_stored_logits_alone_are_those_of_every_row(task: Any, tmp_path: Path) -> None:
    """With nothing stored by token, several batches long."""
    from bertpress.engine.evaluation import logits_of

    teacher = make_model(**without_dropout())
    signals = store(tmp_path / "signals", teacher, task, ["train", "validation"], Wanted(logits=True))
    for split in ("train", "validation"):
        stored, expected = torch.from_numpy(signals[split].logits.copy()), logits_of(teacher, task, task.encoded(split))
        torch.testing.assert_close(stored, torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_a_store_is_used_again(task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertpress.methods.tinybert import signals

    teacher = make_model(**without_dropout())
    first = store(tmp_path / "signals", teacher, task, ["train"], Wanted(logits=True))
    monkeypatch.setattr(signals, "observe", None)  # computing again would fail
    again = store(tmp_path / "signals", teacher, task, ["train"], Wanted(logits=True))
    assert (again["train"].logits == first["train"].logits).all()


def test_a_stale_store_is_refused_by_naming_what_differs(
    task: Any, text_data: Callable[..., Any], tmp_path: Path
) -> None:
    from bertpress.tasks.classification import Classification

    teacher, wanted = make_model(**without_dropout()), Wanted(logits=True)
    store(tmp_path / "signals", teacher, task, ["train"], wanted)
    with pytest.raises(RequestError, match="signals of another teacher;"):
        store(tmp_path / "signals", make_model(seed=7), task, ["train"], wanted)
    more = store(tmp_path / "signals", teacher, task, ["train"], Wanted(logits=True, hidden=(1,)))
    assert more["train"].tokens is not None, "another selection stands beside the first"
    fewer = Classification(text_data(train=50), make_tokenizer(), 32)
    with pytest.raises(RequestError, match="of another text;"):
        store(tmp_path / "signals", teacher, fewer, ["train"], wanted)


def test_stored_vectors_are_those_of_their_pooling(tmp_path: Path) -> None:
    values = write_token_tasks(tmp_path)["embedding"]
    teacher = make_model(head=None)
    for place, pooling in enumerate(("mean", "cls")):
        task = token_task({**values, "embedding": {"pooling": pooling}}).aligned(teacher.config)
        if place:
            with pytest.raises(RequestError, match="of another task;"):
                store(tmp_path / "signals", teacher, task, ["train"], Wanted(logits=True))
        else:
            store(tmp_path / "signals", teacher, task, ["train"], Wanted(logits=True))


def test_a_full_disk_leaves_no_store(task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    teacher = make_model(**without_dropout())
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left"):
            store(tmp_path / "signals", teacher, task, ["train"], Wanted(logits=True))
    assert not [path for path in (tmp_path / "signals").iterdir() if path.is_dir()]
    store(tmp_path / "signals", teacher, task, ["train"], Wanted(logits=True))


# Teachers and students


def test_a_teacher_that_knows_nothing_is_refused(task: Any) -> None:
    teacher = make_model(**without_dropout())
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.tensor([1.0, 0.0]))
    with pytest.raises(RequestError, match=r"accuracy on validation is 50.0, no better .* \(50.0\); fine-tune it"):
        check_teacher(teacher, task)


def test_vocabularies_have_to_agree() -> None:
    check_vocabulary(make_tokenizer(), make_tokenizer(), "a", "b")
    other = copy.deepcopy(make_tokenizer())
    other.add_tokens(["extra"])
    check_vocabulary(make_tokenizer(), other, "a", "b")  # one may know more
    with pytest.raises(RequestError, match=r"a and b have different vocabularies \('\[PAD\]'"):
        check_vocabulary(make_tokenizer(), make_tokenizer("roberta"), "a", "b")


PREDICTIONS = {"intermediate": None, "teacher": "elsewhere"}


def test_predictions_are_learnt_from_a_teacher_of_another_vocabulary(task: Any, tmp_path: Path) -> None:
    teacher, student = make_model(family="roberta", **without_dropout("roberta")), make_model(**without_dropout())
    method = TinyBert(**PREDICTIONS)
    taught = task_of_teacher(method, task, make_tokenizer("roberta"))
    assert task_of_teacher(method, task, make_tokenizer()) is task
    signals = store(tmp_path / "signals", teacher, taught, ["train"], Wanted(logits=True))
    numbers = [5, 90, 17]
    own, other = (each.collate([each.encoded("train")[row] for row in numbers]) for each in (task, taught))
    assert not torch.equal(own["input_ids"], other["input_ids"])
    read = Prediction(student, task, method, None, signals).taught(own)
    with torch.no_grad():
        torch.testing.assert_close(read.logits, taught.forward(teacher, other).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"intermediate": Training()}, "tokens cannot be compared; .* or compare predictions alone"),
        ({"cosine_weight": 1.0}, "tokens cannot be compared"),
        ({"signals": "none"}, "answers are stored before the training; signals none forbids that"),
    ],
)
def test_what_needs_the_teacher_s_tokens_needs_its_vocabulary(task: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        task_of_teacher(TinyBert(**{**PREDICTIONS, **fields}), task, make_tokenizer("roberta"))


def test_masked_words_need_one_vocabulary() -> None:
    with pytest.raises(RequestError, match=r"cannot be compared; give a student and a teacher that share one\.$"):
        task_of_teacher(TinyBert(**PREDICTIONS), make_masked_task(), make_tokenizer("roberta"))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "modernbert", "deberta-v2"])
def test_outputs_in_another_order(task_of: Callable[[str], Any], family: str) -> None:
    from bertpress.encoders.surgery import reorder_outputs

    task, model = task_of(family), make_model(family=family, **without_dropout(family))
    batch = batch_of(task)
    with torch.no_grad():
        before = task.forward(model, batch).logits
        reorder_outputs(model, task.head, [1, 0])
        torch.testing.assert_close(task.forward(model, batch).logits, before[:, [1, 0]])


def test_a_teacher_that_names_its_labels_in_another_order(task: Any, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from bertpress.engine.run import Runtime
    from bertpress.methods.tinybert.student import find_teacher

    stored = make_model(**without_dropout(id2label={0: "good", 1: "bad"}, label2id={"good": 0, "bad": 1}))
    stored.save_pretrained(tmp_path / "teacher")
    make_tokenizer().save_pretrained(tmp_path / "teacher")
    run: Any = SimpleNamespace(runtime=Runtime(), device="cpu")
    teacher, taught = find_teacher(TinyBert(teacher=str(tmp_path / "teacher")), make_model(), task, run)
    assert taught is task
    batch = task.collate([task.encoded("train")[row] for row in range(4)])
    with torch.no_grad():
        expected = task.forward(stored, batch).logits[:, [1, 0]]
        torch.testing.assert_close(task.forward(teacher, batch).logits, expected)
    assert teacher.config.id2label == {0: "bad", 1: "good"}


def test_a_teacher_reads_segments_that_the_start_model_does_not_know(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from bertpress.engine.run import Runtime
    from bertpress.engine.teachers import read_by_both

    run: Any = SimpleNamespace(runtime=Runtime(), device="cpu")
    for family in ("bert", "distilbert"):
        make_model(family=family).save_pretrained(tmp_path / family)
        make_tokenizer(family).save_pretrained(tmp_path / family)
    rows = Dataset.from_dict({"a": ["the day", "a house"] * 4, "b": ["the tree", "good"] * 4, "label": [0, 1] * 4})
    data = TextData("pairs", {"train": rows}, ("a", "b"), ("bad", "good"), ("accuracy",), "accuracy")
    task, own = (Classification(data, load_tokenizer(str(tmp_path / family)), 32) for family in ("distilbert", "bert"))
    both = read_by_both(str(tmp_path / "bert"), task, run)
    assert both.encoded("train")[0]["token_type_ids"] == own.encoded("train")[0]["token_type_ids"]
    assert "token_type_ids" not in task.tokenizer.model_input_names, "what is saved stays as it is"
    assert both.inputs_of(make_model(family="distilbert"), batch_of(both)).keys() == {"input_ids", "attention_mask"}
    assert read_by_both("start", task, run) is task
    assert read_by_both(str(tmp_path / "distilbert"), own, run) is own


def test_teachers_that_do_not_fit_are_refused(task: Any, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from bertpress.engine.run import Runtime
    from bertpress.methods.tinybert.student import find_teacher

    run: Any = SimpleNamespace(runtime=Runtime(), device="cpu")
    for name, fields, words in (
        ("short", {"max_position_embeddings": 31}, "--max-length 32 is more than the 31 positions"),
        ("few", {"vocab_size": 50}, "has embeddings for 50 tokens, fewer than the tokenizer has"),
        ("other", {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}, "labels"),
    ):
        make_model(**fields).save_pretrained(tmp_path / name)
        make_tokenizer().save_pretrained(tmp_path / name)
        with pytest.raises(RequestError, match=words):
            find_teacher(TinyBert(teacher=str(tmp_path / name)), make_model(), task, run)


def test_a_student_of_another_architecture_takes_what_it_knows(task: Any, batch: Any) -> None:
    """A DistilBERT knows no segments; it learns from a BERT on the same batches."""
    teacher, student = make_model(**without_dropout()), make_model(family="distilbert", **without_dropout("distilbert"))
    objective = intermediate(task, student, teacher, layer_map=((0, 0), (4, 4))).train()
    assert "token_type_ids" in batch
    hidden, attention = distances(objective, batch)
    assert hidden > 0
    assert attention > 0


def test_layers_above_the_compared_ones_may_stay_without_gradient(task: Any) -> None:
    teacher = make_model(**without_dropout())
    assert not intermediate(task, keep_layers(teacher, [1, 3]), teacher).unused_parameters
    assert intermediate(task, keep_layers(teacher, [1, 3]), teacher, layer_map=((1, 2),)).unused_parameters


def test_labels_are_compared_but_for_their_spelling(task: Any, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from bertpress.engine.run import Runtime
    from bertpress.methods.tinybert.student import find_teacher

    said: list[str] = []
    run: Any = SimpleNamespace(runtime=Runtime(say=said.append), device="cpu")
    for name, labels in (("unnamed", ("LABEL_0", "LABEL_1")), ("upper", ("BAD", "Good"))):
        fields = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
        make_model(**fields).save_pretrained(tmp_path / name)
        make_tokenizer().save_pretrained(tmp_path / name)
        find_teacher(TinyBert(teacher=str(tmp_path / name)), make_model(), task, run)
    assert len(said) == 1
    assert "does not name its labels; they are taken to be bad, good, in this order" in said[0]


def test_rows_of_a_subset_keep_their_signals(tmp_path: Path) -> None:
    """A limited corpus keeps the numbers of its rows."""
    from bertpress.recipe import TaskSpec
    from bertpress.tasks import load_task

    (tmp_path / "text.txt").write_text("the house was quite green and the road is very slow\n" * 400, encoding="utf-8")
    spec = TaskSpec(name="text", data_dir=str(tmp_path / "text.txt"), kind="encoder")
    task = load_task(spec, make_tokenizer(), 32, {"train": 5})
    teacher = make_model(**without_dropout()).base_model
    found = store(tmp_path / "signals", teacher, task, ["train"], Wanted(hidden=(4,)))["train"]
    rows = task.encoded("train")
    batch = task.collate([rows[3], rows[1]])
    with torch.no_grad():
        expected = teacher(**task.inputs_of(teacher, batch)).last_hidden_state
    mask = batch["attention_mask"].bool()
    read = found.read(batch["row"], batch["input_ids"].shape[1], torch.device("cpu")).hidden[4]
    torch.testing.assert_close(read[mask], expected[mask], rtol=2e-3, atol=2e-3)


def test_the_angle_alone_leaves_the_head_without_gradient(task: Any) -> None:
    model = make_model(**without_dropout())
    assert Prediction(model, task, TinyBert(soft_weight=0, cosine_weight=1.0), model).unused_parameters
    assert not Prediction(model, task, TinyBert(), model).unused_parameters
