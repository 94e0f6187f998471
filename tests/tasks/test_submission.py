import zipfile

import pytest

from bertpress.errors import RequestError
from bertpress.tasks.glue import GLUE
from bertpress.tasks.submission import write_submission

OFFICIAL = {  # task, split: file, rows, predictions, how the leaderboard spells them
    ("cola", "test"): ("CoLA.tsv", 1063, ["unacceptable", "acceptable"], ["0", "1"]),
    ("sst2", "test"): ("SST-2.tsv", 1821, ["negative", "positive"], ["0", "1"]),
    ("mrpc", "test"): ("MRPC.tsv", 1725, ["equivalent", "not_equivalent"], ["1", "0"]),
    ("stsb", "test"): ("STS-B.tsv", 1379, [-0.5, 2.34567, 5.1], ["0.000", "2.346", "5.000"]),
    ("qqp", "test"): ("QQP.tsv", 390965, ["duplicate", "not_duplicate"], ["1", "0"]),
    ("mnli", "test"): ("MNLI-m.tsv", 9796, ["neutral", "contradiction"], ["neutral", "contradiction"]),
    ("mnli", "test_mismatched"): ("MNLI-mm.tsv", 9847, ["entailment", "neutral"], ["entailment", "neutral"]),
    ("qnli", "test"): ("QNLI.tsv", 5463, ["not_entailment", "entailment"], ["not_entailment", "entailment"]),
    ("rte", "test"): ("RTE.tsv", 3000, ["entailment", "not_entailment"], ["entailment", "not_entailment"]),
    ("wnli", "test"): ("WNLI.tsv", 146, ["entailment", "not_entailment"], ["1", "0"]),
    ("ax", "test"): ("AX.tsv", 1104, ["contradiction", "entailment"], ["contradiction", "entailment"]),
}


def test_every_test_split_has_a_file():
    assert {(name, split) for name, task in GLUE.items() for split in task.files} == set(OFFICIAL)


@pytest.mark.parametrize(("name", "split"), OFFICIAL)
def test_official_file(tmp_path, name, split):
    file, size, predictions, spelled = OFFICIAL[name, split]
    rows = (predictions * size)[:size]
    paths, notes = write_submission(f"glue/{name}", split, rows, tmp_path / "out")
    assert paths == [tmp_path / "out" / file]
    assert notes == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == [file]
    lines = paths[0].read_text().split("\n")
    assert lines[0] == "index\tprediction"
    assert lines[1:-1] == [f"{index}\t{spelled[index % len(spelled)]}" for index in range(size)]
    assert lines[-1] == ""


def test_another_number_of_rows_is_remarked(tmp_path):
    _, notes = write_submission("mrpc", "test", ["equivalent"], tmp_path)
    assert notes == ["MRPC.tsv has 1 rows, the leaderboard expects 1725"]


def test_zip_holds_the_official_files_present(tmp_path):
    (tmp_path / "other.tsv").write_text("x")
    write_submission("rte", "test", ["entailment"] * 3000, tmp_path)
    paths, notes = write_submission("wnli", "test", ["entailment"] * 146, tmp_path, zip=True)
    assert [path.name for path in paths] == ["WNLI.tsv", "submission.zip"]
    with zipfile.ZipFile(paths[1]) as archive:
        assert archive.namelist() == ["RTE.tsv", "WNLI.tsv"]
    assert len(notes) == 1
    assert notes[0].startswith("submission.zip lacks CoLA.tsv, SST-2.tsv, MRPC.tsv, STS-B.tsv, QQP.tsv, MNLI-m.tsv")
    assert notes[0].endswith("AX.tsv; the leaderboard wants all 11 files")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["RTE.tsv", "WNLI.tsv", "other.tsv", "submission.zip"]


@pytest.mark.parametrize(
    ("name", "split", "predictions", "message"),
    [
        ("mprc", "test", [], r"Expected a GLUE task, got 'mprc' \(did you mean 'mrpc'\?\)"),
        ("mrpc", "validation", [], "Expected test as the split of a submission for mrpc, got 'validation'"),
        ("mnli", "train", [], "Expected test or test_mismatched as the split"),
        ("mrpc", "test", ["equivalent", 1], "Expected one of not_equivalent, equivalent in row 2 of MRPC.tsv, got 1"),
        ("stsb", "test", [1.0, float("nan")], "Expected a finite number as label, but row 2 of STS-B.tsv has nan"),
    ],
)
def test_wrong_requests(tmp_path, name, split, predictions, message):
    with pytest.raises(RequestError, match=message):
        write_submission(name, split, predictions, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(RequestError, match=r"Expected a folder at .*out, found a file: give another folder"):
        write_submission("mrpc", "test", ["equivalent"], tmp_path / "out")
