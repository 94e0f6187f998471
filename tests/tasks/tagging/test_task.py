import dataclasses
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_config, make_tokenizer
from transformers import AutoModelForTokenClassification

from bertpress.comparison.comparing import read_predictions
from bertpress.config import build
from bertpress.engine.evaluation import logits_of
from bertpress.engine.run import save_predictions
from bertpress.errors import RequestError
from bertpress.losses.prediction import kl_divergence
from bertpress.tasks.data import TextData
from bertpress.tasks.splits import hold_out
from bertpress.tasks.tagging.formats import load_sentences
from bertpress.tasks.tagging.heads import Tags
from bertpress.tasks.tagging.sentences import dataset_of, record, spans_in
from bertpress.tasks.tagging.settings import TaggingSettings
from bertpress.tasks.tagging.spans import Counts, precision_recall_f1
from bertpress.tasks.tagging.task import IGNORED, Tagging, of_head
from bertpress.tasks.tagging.words import joined
from bertpress.tasks.task import OWN_TEXTS

TYPES = ("PER", "LOC")
SENTENCES = [
    ("the house zoo was very quite", [(0, 2, "PER"), (2, 3, "LOC")]),
    ("a road", []),
    ("book bright green day", [(1, 4, "LOC")]),
    ("zoo", [(0, 1, "PER")]),
]


def rows_of(sentences, labelled=True):
    rows = []
    for number, (text, spans) in enumerate(sentences):
        text, words = joined(text.split(), "word")
        rows.append(record(str(number), text, words, spans if labelled else None))
    return dataset_of(rows, labelled)


def make(sentences=SENTENCES, max_length=32, family="bert", **options):
    splits = {"train": rows_of(sentences), "validation": rows_of(sentences), "test": rows_of(sentences, labelled=False)}
    data = TextData("files", splits, ("text",), TYPES, ("span_f1", "span_precision", "span_recall"), "span_f1")
    return Tagging(data, make_tokenizer(family), max_length, TaggingSettings(**options))


def long_sentences(count=12, seed=0):
    """Sentences of up to 60 words of up to four tokens, with many entities."""
    generator = random.Random(seed)
    sentences = []
    for _ in range(count):
        words = [
            generator.choice(("the", "house", "zoo", "zebra", "a", "quick")) for _ in range(generator.randint(1, 60))
        ]
        spans, start = [], 0
        while start < len(words):
            end = min(len(words), start + generator.randint(1, 3))
            if generator.random() < 0.5:
                spans.append((start, end, generator.choice(TYPES)))
            start = end
        sentences.append((" ".join(words), spans))
    return sentences


def gold(task, split="validation"):
    """What a model that tags every word rightly is condensed to."""
    condensed = np.zeros((len(task.encoded(split)), 2 * task.max_length), np.float32)
    condensed[:, : task.max_length] = -1
    for row, labels in enumerate(task.encoded(split)["labels"]):
        for place, label in enumerate(labels):
            if label != IGNORED:
                condensed[row, place], condensed[row, task.max_length + place] = label, 0.5
    return condensed


def with_outside(task, split="validation"):
    """What a model that finds nothing is condensed to."""
    condensed = gold(task, split)
    tags = condensed[:, : task.max_length]
    tags[tags >= 0] = task.labels.index("O")
    return condensed


def batch_of(task, split="train", numbers=range(4)):
    rows = task.encoded(split)
    return task.collate([rows[number] for number in numbers])


def outputs(logits):
    return SimpleNamespace(logits=logits)


def random_logits(task, batch, seed=0):
    return torch.randn(*batch["input_ids"].shape, len(task.labels), generator=torch.Generator().manual_seed(seed))


def model_of(task, family="bert"):
    config = task.configure(make_config(family))
    return AutoModelForTokenClassification.from_config(config).eval()


def test_the_first_token_of_a_word_carries_its_tag():
    task = make()
    row = task.encoded("train")[0]
    tokens = task.tokenizer.convert_ids_to_tokens(row["input_ids"])
    assert tokens == ["[CLS]", "the", "house", "z", "##o", "##o", "was", "very", "quite", "[SEP]"]
    assert row["words"] == [-1, 0, 1, 2, -1, -1, 3, 4, 5, -1]
    names = [None if label == IGNORED else task.labels[label] for label in row["labels"]]
    assert names == [None, "B-PER", "I-PER", "B-LOC", None, None, "O", "O", "O", None]
    assert (row["length"], row["row"], row["record"]) == (10, 0, 0)


def test_the_head_has_the_tags_of_the_scheme():
    config = make(scheme="BIOES").configure(make_config())
    names = ["O", *(f"{letter}-{kind}" for kind in TYPES for letter in "BIES")]
    assert [config.id2label[number] for number in range(config.num_labels)] == names
    assert config.label2id["S-LOC"] == 8


def test_a_batch_is_padded():
    task = make()
    batch = batch_of(task)
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "row", "asked", "labels"}
    assert batch["labels"].shape == batch["asked"].shape == batch["input_ids"].shape == (4, 10)
    assert (batch["asked"] == (batch["labels"] != IGNORED)).all()
    assert batch["asked"].sum(1).tolist() == [6, 2, 4, 1]
    assert (batch["labels"][1, 3:] == IGNORED).all()
    assert set(batch_of(task, "test")) == {"input_ids", "token_type_ids", "attention_mask", "row", "asked"}


def test_the_loss_is_the_mean_over_words():
    task = make()
    batch = batch_of(task)
    logits = random_logits(task, batch)
    losses = task.example_losses(outputs(logits), batch)
    for row in range(4):
        places = [place for place, label in enumerate(batch["labels"][row].tolist()) if label != IGNORED]
        each = [-math.log(torch.softmax(logits[row, place], 0)[batch["labels"][row, place]]) for place in places]
        assert losses[row].item() == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_a_window_without_words_costs_nothing():
    task = make()
    batch = batch_of(task)
    batch = {**batch, "labels": torch.full_like(batch["labels"], IGNORED), "asked": torch.zeros_like(batch["asked"])}
    logits = random_logits(task, batch).requires_grad_()
    losses = task.example_losses(outputs(logits), batch)
    distances = task.distillation_losses(logits, logits.detach() + 1, batch, kl_divergence)
    assert losses.tolist() == distances.tolist() == [0.0] * 4
    (losses.sum() + distances.sum()).backward()
    assert (logits.grad == 0).all()


def test_distillation_compares_the_tags_of_words():
    task = make()
    batch = batch_of(task, "test")
    student, teacher = (random_logits(task, batch, seed) for seed in (1, 2))
    distances = task.distillation_losses(student, teacher, batch, kl_divergence)
    for row in range(4):
        places = batch["asked"][row].nonzero()[:, 0].tolist()
        each = [kl_divergence(student[row, place], teacher[row, place]).item() for place in places]
        assert distances[row].item() == pytest.approx(sum(each) / len(each), rel=1e-5)
    elsewhere = teacher.masked_fill(~batch["asked"][..., None], 1e4)
    assert torch.equal(task.distillation_losses(student, elsewhere, batch, kl_divergence), distances)
    same = task.distillation_losses(student, student, batch, kl_divergence)
    assert same.abs().max() < 1e-6


def test_what_is_kept_of_a_window():
    task = make(max_length=12)
    batch = batch_of(task)
    logits = random_logits(task, batch)
    condensed = task.condense(outputs(logits), batch)
    assert condensed.shape == (4, 24)
    assert condensed.dtype == torch.float32
    shares = logits.softmax(-1)
    assert condensed[0, 1] == shares[0, 1].argmax()
    assert condensed[0, 13] == shares[0, 1].max()
    assert (condensed[0, [0, 4, 5, 9, 10, 11]] == -1).all()
    assert (condensed[0, [12, 16, 17, 21, 22, 23]] == 0).all()
    assert (condensed[3, 2:12] == -1).all()


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_a_model_answers_the_same_whatever_it_is_padded_to(family):
    task = make(long_sentences(), max_length=24, family=family)
    model = model_of(task, family)
    together = logits_of(model, task, task.encoded("validation"))
    with torch.inference_mode():
        for row in range(0, len(together), 7):
            batch = batch_of(task, "validation", [row])
            alone = task.condense(task.forward(model, batch), batch).numpy()[0]
            assert (alone[:24] == together[row, :24]).all()
            np.testing.assert_allclose(alone[24:], together[row, 24:], atol=1e-5)


@pytest.mark.parametrize("max_length", [5, 8, 24, 200])
@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "BMES", "BILOU"])
def test_no_true_entity_is_lost_however_short_an_input(max_length, scheme):
    task = make(long_sentences(), max_length=max_length, scheme=scheme)
    scores = task.score(gold(task), "validation")
    assert scores == dict.fromkeys(task.metrics, 1.0)
    assert task.metrics == ("span_f1", "span_precision", "span_recall", "tag_accuracy", "span_f1.PER", "span_f1.LOC")
    assert (len(task.encoded("validation")) > len(task.splits["validation"])) == (max_length < 200)


def test_finding_nothing_scores_nothing():
    task = make()
    scores = task.score(with_outside(task), "validation")
    assert scores["tag_accuracy"] == pytest.approx(6 / 13)
    assert [value for name, value in scores.items() if name != "tag_accuracy"] == [0.0] * 5
    assert task.chance_score("validation") == 0.0


def test_scores_by_hand():
    """`the house` is found one word too long and `bright green day` without its end; two of four are right."""
    task = make()
    condensed = gold(task)
    names = list(task.labels)
    condensed[0, 3] = names.index("I-PER")  # zoo
    condensed[2, 4] = names.index("O")  # day
    condensed[1, 1] = names.index("B-LOC")  # a
    scores = task.score(condensed, "validation")
    assert scores["span_precision"] == pytest.approx(1 / 4)
    assert scores["span_recall"] == pytest.approx(1 / 4)
    assert scores["span_f1.PER"] == pytest.approx(2 / 4)
    assert scores["span_f1.LOC"] == 0.0
    assert scores["tag_accuracy"] == pytest.approx(10 / 13)
    assert task.results(condensed, "validation").tolist() == [[0, 1], [0, 1], [0, 1], [1, 1]]
    assert task.truths(condensed, "validation") == [2, 0, 1, 1]


def test_results_and_truths_add_up_to_the_score():
    task = make(long_sentences(), max_length=16)
    generator = np.random.default_rng(0)
    condensed = gold(task)
    tags = condensed[:, :16]
    tags[(tags >= 0) & (generator.random(tags.shape) < 0.2)] = 1
    results, truths = task.results(condensed, "validation"), task.truths(condensed, "validation")
    assert results.shape == (12, 2)
    assert results.dtype == np.float64
    counts = Counts(sum(truths), int(results[:, 1].sum()), int(results[:, 0].sum()))
    scores = task.score(condensed, "validation")
    assert 0 < scores["span_f1"] < 1
    expected = (scores["span_precision"], scores["span_recall"], scores["span_f1"])
    assert precision_recall_f1(counts) == pytest.approx(expected)


def test_parts_are_the_types_and_add_up_to_the_whole(tmp_path):
    task = make(long_sentences(), max_length=16)
    generator = np.random.default_rng(1)
    condensed = gold(task)
    tags = condensed[:, :16]
    tags[(tags >= 0) & (generator.random(tags.shape) < 0.2)] = 1
    parts = task.parts(condensed, "validation")
    assert sorted(parts) == sorted(TYPES)
    whole = np.column_stack([task.truths(condensed, "validation"), task.results(condensed, "validation")])
    np.testing.assert_array_equal(sum(parts.values()), whole)
    scores = task.score(condensed, "validation")
    for name, part in parts.items():
        true, right, found = (int(total) for total in part.sum(axis=0))
        assert precision_recall_f1(Counts(true, found, right))[2] == pytest.approx(scores[f"span_f1.{name}"])
    save_predictions(tmp_path, "validation", task, condensed)
    read = read_predictions(tmp_path, "validation", {"kind": "tagging", "labels": list(task.labels)})
    assert read.lengths.tolist() == task.lengths("validation")
    assert {name: part.tolist() for name, part in read.parts.items()} == {n: p.tolist() for n, p in parts.items()}
    assert read.part("LOC").score("span_f1") == pytest.approx(scores["span_f1.LOC"])


def test_a_sentence_is_as_long_as_its_windows_together():
    task = make(long_sentences(), max_length=16)
    encoded, lengths = task.encoded("validation"), task.lengths("validation")
    for number in range(12):
        rows = [row for row in encoded if row["record"] == number]
        assert lengths[number] == sum(len(row["input_ids"]) for row in rows)


def test_training_windows_cut_no_entity():
    task = make(long_sentences(), max_length=14)

    def cut(split):
        """Entities of which a window has some words but not all."""
        found = 0
        sentences = [spans_in(row) for row in task.splits[split]]
        for row in task.encoded(split):
            words = set(row["words"]) - {-1}
            for first, last, _ in sentences[row["record"]]:
                found += 0 < len(words & set(range(first, last))) < last - first
        return found

    assert cut("train") == 0
    assert cut("validation") > 0


def test_the_overlap_acts():
    sizes = [len(make(long_sentences(), max_length=14, overlap=overlap).encoded("train")) for overlap in (0, 0.25, 0.5)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_what_is_decoded():
    task = make()
    condensed = gold(task)
    condensed[0, 32 + 1], condensed[0, 32 + 2] = 0.9, 0.8
    first, second, *_ = task.decode(condensed, "validation")
    assert second == {"entities": [], "tags": ["O", "O"]}
    assert first["tags"] == ["B-PER", "I-PER", "B-LOC", "O", "O", "O"]
    per, loc = first["entities"]
    assert per == {"type": "PER", "text": "the house", "start": 0, "end": 9, "probability": pytest.approx(0.72)}
    assert loc == {"type": "LOC", "text": "zoo", "start": 10, "end": 13, "probability": 0.5}


def test_tags_against_the_scheme_count_unless_strict():
    for strict, expected in ((False, ["house"]), (True, [])):
        task = make(strict=strict)
        condensed = with_outside(task)
        condensed[0, 2] = task.labels.index("I-PER")
        entities = task.decode(condensed, "validation")[0]["entities"]
        assert [entity["text"] for entity in entities] == expected
        assert task.results(condensed, "validation")[0].tolist() == [0, len(expected)]


def test_strict_mode_misses_nothing_where_the_true_tags_break_the_scheme(tmp_path):
    text = "house B-PER\nday O\nroad O\n\nhouse I-PER\nroad I-PER\nday O\n"
    for split in ("train", "validation"):
        (tmp_path / f"{split}.conll").write_text(text, encoding="utf-8")
    # Found: the first entity. True: that one, and to a lenient reader one more.
    for strict, truths, recall in ((False, [1, 1], 0.5), (True, [1, 0], 1.0)):
        settings = TaggingSettings(strict=strict)
        task = Tagging(load_sentences("files", tmp_path, settings=settings), make_tokenizer(), 16, settings)
        condensed = with_outside(task)
        condensed[0, 1] = task.labels.index("B-PER")
        assert task.truths(condensed, "validation") == truths
        assert task.score(condensed, "validation")["span_recall"] == recall


def test_the_file_of_answers_can_be_read_again(tmp_path):
    task = make(long_sentences(), max_length=16)
    files = task.answer_files(gold(task), "validation")
    assert list(files) == ["validation.conll"]
    (tmp_path / "train.conll").write_text(files["validation.conll"], encoding="utf-8")
    again = load_sentences("files", tmp_path).splits["train"]
    assert [spans_in(row) for row in again] == [spans_in(row) for row in task.splits["validation"]]
    assert again["text"][:] == task.splits["validation"]["text"][:]


def test_white_space_inside_of_words_does_not_tear_the_file_of_answers():
    text, words = joined(["New York", "", "\u3000", "day"], "word")
    rows = dataset_of([record("0", text, words, [(0, 1, "LOC")])], labelled=True)
    task = Tagging(
        TextData("files", {"validation": rows}, ("text",), TYPES, (), "span_f1"),
        make_tokenizer(),
        32,
        TaggingSettings(),
    )
    assert task.answer_files(gold(task), "validation")["validation.conll"] == "New_York B-LOC\n_ O\n_ O\nday O\n\n"


def test_a_split_without_entities_is_predicted_but_not_scored():
    task = make()
    assert not task.has_labels("test")
    condensed = with_outside(make(), "validation")
    assert len(task.decode(condensed, "test")) == 4
    assert task.truths(condensed, "test") == [None] * 4
    for scored in (task.score, task.results):
        with pytest.raises(RequestError, match="test split of files has no labels"):
            scored(condensed, "test")


def config_with(names):
    return make_config(id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)})


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        (("I-LOC", "B-LOC", "O", "I-PER", "B-PER"), "BIO"),
        (("O", "B-LOC", "M-LOC", "E-LOC", "S-LOC", "B-PER", "M-PER", "E-PER", "S-PER"), "BMES"),
        (("O", "I-LOC", "I-PER", "B-LOC"), "IOB1"),
    ],
)
def test_a_trained_head_keeps_its_tags(names, scheme):
    task = make(long_sentences(), max_length=24)
    before = task.encoded("validation")["labels"][:]
    aligned = task.aligned(config_with(names))
    assert aligned.labels == names
    assert aligned.tags.scheme == scheme
    assert aligned.encoded("validation")["labels"][:] != before
    scores = aligned.score(gold(aligned), "validation")
    assert scores["tag_accuracy"] == 1.0
    if scheme != "IOB1":  # which has no output for the second of two entities next to each other
        assert scores["span_f1"] == 1.0
    assert task.labels == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), "the given task is left alone"
    assert aligned.aligned(config_with(names)) is aligned


def test_types_in_another_case_are_spelled_as_in_the_data():
    task = make().aligned(config_with(("O", "B-loc", "I-loc", "B-per", "I-per")))
    assert task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert task.score(gold(task), "validation")["span_f1"] == 1.0


def test_a_head_for_other_types_is_refused():
    with pytest.raises(RequestError, match="head finds PER, ORG, but files has PER, LOC"):
        make().aligned(config_with(("O", "B-PER", "I-PER", "B-ORG", "I-ORG")))
    with pytest.raises(RequestError, match="--head-labels"):
        make().aligned(config_with([f"LABEL_{number}" for number in range(5)]))


def test_without_training_sentences_types_may_be_missing_and_finding_them_is_wrong():
    names = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
    task = make()
    with pytest.raises(RequestError, match="head finds PER, LOC, ORG, but files has PER, LOC"):
        task.aligned(config_with(names))
    splits = {"validation": task.splits["validation"]}
    scored = task.about(dataclasses.replace(task.data, splits=splits)).aligned(config_with(names))
    assert scored.labels == names
    assert scored.metrics[-1] == "span_f1.ORG"
    condensed = gold(scored)
    assert scored.score(condensed, "validation")["span_f1"] == 1.0
    tags = condensed[:, : scored.max_length]
    tags[tags == names.index("O")] = names.index("B-ORG")
    assert scored.score(condensed, "validation")["span_f1"] < 1.0


def test_sentences_without_any_tag_are_asked_of_a_trained_head(tmp_path):
    (tmp_path / "test.conll").write_text("Anna\nsleeps\n\nzoo\n")
    data = load_sentences("files", tmp_path)
    assert data.labels == ()
    task = Tagging(data, make_tokenizer(), 24).aligned(config_with(("O", "B-PER", "I-PER")))
    condensed = logits_of(model_of(task), task, task.encoded("test"))
    assert [len(answer["tags"]) for answer in task.decode(condensed, "test")] == [2, 1]


TEXTS = [("Anna, the zoo!",), ("",), ("北京 day",)]


def test_own_texts():
    own = make().with_texts(TEXTS)
    rows = own.splits[OWN_TEXTS]
    assert own.name == "files"
    assert own.sources == {}
    assert (own.notes, list(own.splits)) == ((), [OWN_TEXTS])
    assert [row["starts"] for row in rows] == [[0, 4, 6, 10, 13], [], [0, 3]]
    condensed = logits_of(model_of(own), own, own.encoded(OWN_TEXTS))
    answers = own.decode(condensed, OWN_TEXTS)
    assert [len(answer["tags"]) for answer in answers] == [5, 0, 2]
    assert "labels" not in batch_of(own, OWN_TEXTS, range(3))
    with pytest.raises(RequestError, match="one text at a time"):
        make().with_texts([("a", "b")])


def test_the_level_acts():
    def words(level):
        task = make()
        task = task.about(dataclasses.replace(task.data, level=level))
        (config,) = (task.configure(make_config()),)
        trained = of_head(config, task.tokenizer, 32)
        for each in (task, trained):
            rows = each.with_texts([("北京市 day",), ("day",)]).splits[OWN_TEXTS]
            yield [len(row["starts"]) for row in rows]

    assert list(words(None)) == [[2, 1]] * 2, "three Chinese letters of six are not most"
    assert list(words("character")) == [[6, 3]] * 2
    assert list(words("word")) == [[2, 1]] * 2


def test_a_trained_head_predicts_without_data():
    names = ("O", "S-X", "B-X", "E-X", "I-X")
    config = config_with(names)
    task = of_head(config, make_tokenizer(), 16)
    assert (task.labels, task.tags.scheme, task.entities) == (names, "BIOES", ("X",))
    assert dict(task.splits) == {}
    own = task.with_texts([("the house was quite green",)])
    assert own.labels == names
    condensed = np.concatenate([np.full((1, 16), -1.0), np.zeros((1, 16))], axis=1)
    condensed[0, 1:6], condensed[0, 17:22] = [0, 2, 4, 3, 1], 1
    entities = own.decode(condensed, OWN_TEXTS)[0]["entities"]
    assert [(entity["text"], entity["start"]) for entity in entities] == [("house was quite", 4), ("green", 20)]
    with pytest.raises(RequestError, match="labels are tags"):
        of_head(config_with(("negative", "positive")), make_tokenizer(), 16)


def test_of_entities_within_entities_the_longest_is_tagged():
    spans = [(0, 3, "PER"), (1, 2, "LOC"), (2, 5, "LOC"), (5, 6, "LOC")]
    task = make([("the house zoo was very quite", spans)])
    assert spans_in(task.splits["train"][0]) == [(0, 3, "PER"), (5, 6, "LOC")]
    assert "train: 2 of 4 entities overlap a longer one and are left out; mrc can find them" in task.notes
    assert task.score(gold(task), "validation")["span_f1"] == 1.0
    assert task.truths(gold(task), "validation") == [2]
    assert len(make().notes) == 1


def test_remarks_count_the_sentences_that_are_used():
    """After --limit, that is: what was cut away trains nothing."""
    data = make().data
    entities = sum(len(spans) for _, spans in SENTENCES)
    assert make().notes == (f"entities of {len(TYPES)} types: train {entities}, validation {entities}",)
    few = {**data.splits, "train": data.splits["train"].select([3])}
    task = Tagging(dataclasses.replace(data, splits=few), make_tokenizer(), 32)
    assert task.notes == (
        f"entities of {len(TYPES)} types: train 1, validation {entities}",
        "no training sentence has an entity of the type LOC",
    )


def test_agreement_is_the_share_of_words_with_the_same_tag():
    task = make()
    one, other = gold(task), gold(task)
    assert task.agreement(one, other) == 1.0
    other[0, 1], other[0, 0] = 4, 4
    other[:, 32:] = 0.25
    assert task.agreement(one, other) == pytest.approx(12 / 13)
    nothing = np.full_like(one, -1)
    assert task.agreement(nothing, nothing) == 1.0


def test_an_input_without_room_for_a_word_is_refused():
    with pytest.raises(RequestError, match="got max_length 2"):
        make(max_length=2).encoded("train")


def test_another_tokenizer_and_other_splits():
    task = make(long_sentences(), max_length=16)
    other = task.with_tokenizer(make_tokenizer("roberta"))
    assert "token_type_ids" not in other.encoded("train").column_names
    assert other.score(gold(other), "validation")["span_f1"] == 1.0
    divided = task.divided({"train": [0, 1, 5], "held": [2, 3, 4]})
    assert divided.score(gold(divided, "held"), "held")["span_f1"] == 1.0
    assert len(divided.decode(gold(divided, "held"), "held")) == 3
    data = hold_out(TextData("files", {"train": rows_of(long_sentences())}, ("text",), TYPES, (), "span_f1"))
    made = Tagging(data, make_tokenizer(), 16, TaggingSettings())
    assert made.score(gold(made), "validation")["span_f1"] == 1.0


def test_settings_are_refused_where_they_make_no_sense():
    for values, fault in (({"overlap": 1}, "overlap"), ({"scheme": "IOB1"}, "scheme"), ({"levle": "word"}, "level")):
        with pytest.raises(RequestError, match=fault):
            build(TaggingSettings, values)
    assert TaggingSettings() == build(TaggingSettings, {})


def test_training_lowers_the_loss_and_finds_entities():
    torch.manual_seed(0)
    task = make([(text, spans) for text, spans in SENTENCES if spans])
    model = model_of(task).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batch = batch_of(task, "train", range(3))
    losses = []
    for _ in range(60):
        loss = task.example_losses(task.forward(model, batch), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[19] < 0.8 * losses[0]
    model.eval()
    assert task.score(logits_of(model, task, task.encoded("validation")), "validation")["span_f1"] > 0.9


def test_the_model_of_transformers_has_the_same_loss_on_one_sentence():
    task = make()
    model = model_of(task)
    batch = batch_of(task, "train", [0])
    own = task.example_losses(task.forward(model, batch), batch)[0]
    taken = {name: batch[name] for name in (*task.inputs, "labels")}
    assert model(**taken).loss.item() == pytest.approx(own.item(), rel=1e-6)


def test_tags_are_plain_values():
    assert Tags(("O", "B-X", "I-X"), "BIO").types == ("X",)
