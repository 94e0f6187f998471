"""Models with fewer tokens, the step from end to end, and what it refuses."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import make_config, make_model, make_tokenizer
from families import FAMILIES
from methods.vocabularies import LINES, SEEN, trained
from models.making import REDUCTION, SHAPES, make_compact
from token_tasks import token_task, write_token_tasks

from bertpress import api
from bertpress.config import build
from bertpress.costs import cost
from bertpress.encoders.compact import without_decisions
from bertpress.engine.loading import AUTO_CLASSES
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.measurements import measuring
from bertpress.methods.vocabulary import Vocabulary, steps
from bertpress.methods.vocabulary.pieces import needed_ids, tokens_of
from bertpress.methods.vocabulary.selecting import ids_of_config, select_tokens, with_tokens
from bertpress.models import COMPACT
from bertpress.recipe import make_recipe
from bertpress.runs import finishing, pipeline

KEPT = [0, 1, 2, 3, 4, *range(9, 60, 3), 71, 98]
each_family = pytest.mark.parametrize("family", FAMILIES)


def rows_of(count: int, length: int) -> torch.Tensor:
    """Random tokens among those that stay, as new ids, without special ones."""
    return torch.randint(5, len(KEPT), (count, length), generator=torch.Generator().manual_seed(3))


def said(model: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    """Everything that a model says of rows."""
    with torch.no_grad():
        outputs = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return [value for value in outputs.to_tuple() if isinstance(value, torch.Tensor)]


@each_family
@pytest.mark.parametrize("head", [head for head in AUTO_CLASSES if head not in ("masked-lm", "multiple-choice")])
def test_kept_tokens_get_the_same_answers_bit_by_bit(family: str, head: str | None) -> None:
    model = make_model(family=family, head=head)
    before, config = copy.deepcopy(model.state_dict()), model.config.to_dict()
    small, ids = select_tokens(model, KEPT), rows_of(3, 12)
    old = torch.tensor(KEPT)[ids]
    assert all(torch.equal(new, own) for new, own in zip(said(small, ids), said(model, old), strict=True))
    assert type(small) is type(model)
    assert small.config.vocab_size == len(KEPT) == small.get_input_embeddings().num_embeddings
    assert cost.parameters(small.config, head=head).total == sum(value.numel() for value in small.parameters())
    assert model.config.to_dict() == config
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@each_family
@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_keeps_the_outputs_of_kept_tokens(family: str, tied: bool) -> None:
    model = make_model(family=family, head="masked-lm", tie_word_embeddings=tied)
    model.tie_weights()
    small, ids = select_tokens(model, KEPT), rows_of(3, 12)
    (new,), (old,) = said(small, ids)[:1], said(model, torch.tensor(KEPT)[ids])[:1]
    assert new.shape == (3, 12, len(KEPT))
    torch.testing.assert_close(new, old[..., KEPT], rtol=0, atol=1e-5)  # other products side by side round otherwise
    table = small.get_input_embeddings().weight
    assert (small.get_output_embeddings().weight.data_ptr() == table.data_ptr()) == (
        model.get_output_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    )
    assert cost.parameters(small.config, head="masked-lm").total == sum(each.numel() for each in small.parameters())


@pytest.mark.parametrize("family", COMPACT)
def test_compact_models_keep_their_shapes_and_decisions(family: str) -> None:
    reduction = {**REDUCTION, "always_keep": [30, 98]}
    model = make_compact(family, layer_shapes=SHAPES, token_reduction=reduction)
    small, ids = select_tokens(model, KEPT), rows_of(6, 14)
    ids[:, 7] = KEPT.index(98)
    assert small.config.token_reduction["always_keep"] == [KEPT.index(30), KEPT.index(98)]
    assert torch.equal(said(small, ids)[0], said(model, torch.tensor(KEPT)[ids])[0])
    assert not torch.equal(said(small, ids)[0], said(without_decisions(small), ids)[0])
    assert model.config.token_reduction["always_keep"] == [30, 98]


def test_ids_that_a_configuration_names_follow() -> None:
    config = make_config("modernbert", pad_token_id=9, eos_token_id=[71, 98], mask_token_id=5, cls_token_id=12)
    result = with_tokens(config, KEPT)
    assert (result.pad_token_id, result.cls_token_id, result.mask_token_id) == (5, 6, None)
    assert result.eos_token_id == [KEPT.index(71), KEPT.index(98)]
    assert ids_of_config(make_config("roberta"))["pad_token_id"] == 1
    assert config.vocab_size == 100


def test_a_number_or_a_share_bounds_the_plan() -> None:
    config = make_config()
    for tokens, size in ((None, 100), (60, 60), (0.6, 60), (1.0, 100), (1000, 100)):
        method = build(Vocabulary, {"tokens": tokens})
        assert method.plan(config).vocab_size == size
    assert build(Vocabulary, {"tokens": 1}).most(100) == 1
    for wrong in (0, -1, 1.5, 0.0):
        with pytest.raises(RequestError, match="tokens"):
            build(Vocabulary, {"tokens": wrong})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A RoBERTa whose tokenizer merges bytes, and rows of which the last ones hold words that others do not."""
    root, tokenizer = tmp_path_factory.mktemp("vocabulary"), trained("bytes")
    fields = {"vocab_size": len(tokenizer) + 3, "pad_token_id": tokenizer.pad_token_id}
    make_model(family="roberta", **fields).save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    (root / "data").mkdir()
    for split, texts in (("train", SEEN), ("validation", LINES[: 4 * len(SEEN)])):
        with open(root / "data" / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [["text", "label"], *([text, ("bad", "good")[i % 2]] for i, text in enumerate(texts))]
            )
    (root / "more.txt").write_text("\n".join(LINES[-20:]), encoding="utf-8")
    task = {"name": "files", "data_dir": str(root / "data"), "columns": ["text"]}
    return SimpleNamespace(root=root, model=str(root / "model"), task=task, tokenizer=tokenizer)


def step_of(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "00-vocabulary" / "result.json").read_text())
    return result


def test_a_run_is_scored_saved_and_evaluated_with_its_own_tokenizer(
    folders: SimpleNamespace, carry_out: Callable[..., Path], tmp_path: Path
) -> None:
    fields = {"model": folders.model, "task": folders.task, "max_length": 62}
    run = carry_out({"vocabulary": {}}, tmp_path / "run", **fields)
    start, result = json.loads((run / "start" / "result.json").read_text()), step_of(run)
    before, after = start["cost"]["parameters"], result["cost"]["parameters"]
    assert before["encoder"] == after["encoder"]
    kept = json.loads((run / "00-vocabulary" / "counting" / "kept.json").read_text())["tokens"]
    assert before["total"] - after["total"] == 16 * (len(folders.tokenizer) + 3 - len(kept))
    again = api.evaluate(str(run), folders.task, max_length=62)
    assert again["validation"] == pytest.approx(result["metrics"]["validation"], abs=1e-9)
    sizes, effect, warning = result["notes"][-3:]
    assert sizes.startswith(f"{len(kept)} of {len(folders.tokenizer)} tokens stay; embeddings: {16 * len(kept):,} ")
    assert "% of the tokens of validation are among them" in effect
    assert warning.startswith("warning: inputs of validation became ")
    more = carry_out({"vocabulary": {"corpus": [str(folders.root / "*.txt")]}}, tmp_path / "more", **fields)
    assert len(json.loads((more / "00-vocabulary" / "counting" / "kept.json").read_text())["tokens"]) > len(kept)
    card = (run / "00-vocabulary" / "model" / "README.md").read_text()
    assert f"| Parameters of {len(kept):,} tokens | {16 * len(kept):,} |" in card


def test_a_killed_run_goes_on_without_counting_again(
    carry_out: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = carry_out({"vocabulary": {"tokens": 70}}, tmp_path / "whole")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    for module, name in ((steps, "write_json"), (finishing, "save_model")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(KeyboardInterrupt):
                carry_out({"vocabulary": {"tokens": 70}}, tmp_path / "run")
        assert not (tmp_path / "run" / "00-vocabulary" / "result.json").exists()
    monkeypatch.setattr(steps, "counted_texts", killed)
    run = carry_out({"vocabulary": {"tokens": 70}}, tmp_path / "run")
    files = [each / "00-vocabulary" / "model" / "model.safetensors" for each in (run, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert step_of(run)["metrics"] == step_of(whole)["metrics"]


def test_plain_text_is_tokenised_anew(
    folder_of: Callable[..., Path], tiny_text_task: dict[str, Any], carry_out: Callable[..., Path], tmp_path: Path
) -> None:
    model = str(folder_of("bert", "masked-lm", "masked-lm"))
    run = carry_out({"vocabulary": {"tokens": 70}}, tmp_path / "run", model=model, task=tiny_text_task)
    result = step_of(run)
    assert api.evaluate(str(run), tiny_text_task, max_length=32)["validation"] == result["metrics"]["validation"]
    assert json.loads((run / "00-vocabulary" / "model" / "config.json").read_text())["vocab_size"] == 70


def test_each_model_is_timed_on_the_texts_as_it_reads_them(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = trained("bytes")
    kept = sorted(needed_ids(steps.content_of(tokenizer)))
    steps.write_tokenizer(tokenizer, kept, tmp_path / "small")
    before = task.with_tokenizer(tokenizer)
    after = task.with_tokenizer(steps.read_tokenizer(tmp_path / "small"))
    start = make_model(family="roberta", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    small = select_tokens(start, kept)
    read: dict[int, set[str]] = {id(start): set(), id(small): set()}
    lengths: dict[int, list[int]] = {id(start): [], id(small): []}
    whole = type(task).forward

    def forward(self: Any, model: Any, batch: Any, **asked: Any) -> Any:
        own = tokenizer if model is start else after.tokenizer
        read[id(model)] |= set(own.batch_decode(batch["input_ids"], skip_special_tokens=True))
        lengths[id(model)].append(batch["input_ids"].shape[1])
        return whole(self, model, batch, **asked)

    monkeypatch.setattr(type(task), "forward", forward)
    rows = measuring.timed(small, start, after, 4, 0, before=before)
    cut = {text[:16] for text in read[id(start)]}  # letter by letter a text fills 32 tokens
    assert cut == {text[:16] for text in read[id(small)]}
    assert len(cut) > 8
    assert [row["batch"] for row in rows] == [1, 4]
    assert min(lengths[id(small)]) > min(lengths[id(start)])
    lengths[id(start)].clear()
    (row, _) = measuring.timed(start, None, before, 4, 0, before=before)
    assert row["tokens"] == pytest.approx(sum(lengths[id(start)][8:23]) / 15)


def test_more_windows_of_the_same_texts_count_as_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    kept = sorted(needed_ids(steps.content_of(tokenizer)))
    steps.write_tokenizer(tokenizer, kept, tmp_path / "small")
    before = token_task(write_token_tasks(tmp_path)["tagging"])
    after = before.with_tokenizer(steps.read_tokenizer(tmp_path / "small"))
    start = make_model(head=before.head, num_labels=5)
    fewer, more = (len(each.encoded("validation")) for each in (before, after))  # letter by letter texts are longer
    assert fewer // 8 < more // 8, "a batch of eight windows each: one has fewer batches than the other"
    monkeypatch.setattr(measuring.latency, "_time_pass", lambda *_: 1.0)  # a second for each batch
    for row in measuring.timed(select_tokens(start, kept), start, after, 8, 0, before=before):
        assert (row["median_ms"], row["against"]["median_ms"]) == pytest.approx((1000, 1000 * fewer / more))
        assert row["speedup"] == row["speedup_high"] == pytest.approx(fewer / more), "seconds for the same texts"


def test_it_comes_last_and_behind_token_reduction(task: Any) -> None:
    def check(*steps: Any, config: Any = None) -> None:
        recipe = make_recipe({"model": "folder", "task": "pydoc", "steps": list(steps)})
        pipeline.check_steps(recipe, config or make_config(), task, Runtime())

    check({"finetune": {}}, {"trbert": {}}, {"vocabulary": {"tokens": 70}})
    check("vocabulary", config=make_compact().config)
    with pytest.raises(RequestError, match="00-vocabulary: a smaller vocabulary comes last, since every step reads"):
        check("vocabulary", "finetune")
    recipe = make_recipe(
        {"model": "m", "task": "pydoc", "steps": [{"finetune": {"training": {"batch_size": 48}}}, "vocabulary"]}
    )
    assert measuring.latency_batch(recipe) == 48
    assert measuring.latency_batch(recipe.model_copy(update={"steps": recipe.steps[1:]})) == 32


def test_a_plan_needs_no_training(tiny_model_folder: Path, tiny_data_folder: Path) -> None:
    values = {"task": {"files": str(tiny_data_folder), "columns": ["text"]}, "steps": [{"vocabulary": {"tokens": 70}}]}
    recipe = make_recipe({"model": str(tiny_model_folder), **values, "max_length": 32})
    (row,) = api.dry_run(recipe, Runtime(device="cpu"))
    assert (row["layers"], row["optimizer_steps"], row["seconds"]) == (4, {}, 0)
    assert row["parameters"] == cost.parameters(make_config(vocab_size=70)).total
    assert row["notes"] == ["at most 70 tokens stay; how many occur is known when the texts are read"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tokens": 56}, "tokens=56 keeps 56 tokens, but 57 have to stay .*: give at least 57"),
        ({"tokens": 0.5}, "tokens=0.5 keeps 40 tokens, but 57 have to stay"),
        ({"corpus": ["nowhere.txt"]}, "Expected text files at nowhere.txt, found none"),
        ({"corpus": ["{}/empty.txt"]}, "Expected text in .*empty.txt, found none: give other files"),
        ({"corpus": ["{}/binary.txt"]}, "Expected UTF-8 text in .*binary.txt, but line 1 holds other bytes"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_done(
    fields: dict[str, Any], words: str, task: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\0\1\2\xff")
    if "corpus" in fields:
        fields = {"corpus": [name.format(tmp_path) for name in fields["corpus"]]}
    recipe = make_recipe({"model": "folder", "task": "pydoc", "steps": [{"vocabulary": fields}]})
    with pytest.raises(RequestError, match=words):
        pipeline.check_steps(recipe, make_config(), task, Runtime())


def test_a_tokenizer_without_pieces_is_refused(task: Any) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    recipe = make_recipe({"model": "folder", "task": "pydoc", "steps": ["vocabulary"]})
    other = copy.copy(task)
    other.tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    with pytest.raises(RequestError, match="got WordLevel, which has no smaller pieces"):
        pipeline.check_steps(recipe, make_config(), other, Runtime())
    other.tokenizer = BertTokenizerLegacy.__new__(BertTokenizerLegacy)
    with pytest.raises(RequestError, match="Expected a fast tokenizer, got BertTokenizerLegacy"):
        pipeline.check_steps(recipe, make_config(), other, Runtime())


@pytest.mark.parametrize("kind", ["multihop", "candidates", "qa"])
def test_markers_of_a_task_stay_though_no_training_row_has_them(kind: str, tmp_path: Path) -> None:
    tokenizer = copy.deepcopy(make_tokenizer())
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = data["model"]["vocab"]
    vocabulary |= {f"[unused{number}]": len(vocabulary) + number for number in range(5)}
    tokenizer = type(tokenizer)(tokenizer_object=type(tokenizer.backend_tokenizer).from_str(json.dumps(data)))
    for role, token in make_tokenizer().special_tokens_map.items():
        setattr(tokenizer, role, token)
    task = token_task(write_token_tasks(tmp_path)[kind], "bert").with_tokenizer(tokenizer)
    names = {number: token for token, number in tokens_of(data).items()}
    assert {names[number] for number in task.markers} == {"[unused1]", "[unused2]", *["[unused3]"] * (kind == "qa")}
    assert set(task.markers) <= steps.all_needed(steps.content_of(tokenizer), task, make_config(vocab_size=110))


@pytest.mark.slow  # a token reduction is trained
def test_a_reduced_model_loses_tokens_last(
    carry_out: Callable[..., Path], tiny_data_folder: Path, tmp_path: Path
) -> None:
    training = {"max_steps": 2, "batch_size": 16}
    reduction = {"macs": 0.8, "init": None, "policy": training, "joint": training, "always_keep": ["sep"]}
    run = carry_out(
        {"trbert": reduction}, tmp_path / "run", steps=[{"trbert": reduction}, {"vocabulary": {"tokens": 75}}]
    )
    folder = run / "01-vocabulary"
    config = json.loads((folder / "model" / "config.json").read_text())
    assert (config["model_type"], config["vocab_size"]) == ("compact_bert", 75)
    result = json.loads((folder / "result.json").read_text())
    assert result["cost"]["token_reduction"]["kept"]
    task = {"name": "files", "data_dir": str(tiny_data_folder), "columns": ["text"]}
    again = api.evaluate(str(run), task, max_length=32)
    assert again["validation"] == pytest.approx(result["metrics"]["validation"], abs=1e-6)
