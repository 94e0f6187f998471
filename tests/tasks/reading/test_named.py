import subprocess
import sys

import pytest

from bertpress.errors import RequestError
from bertpress.tasks.json_records import SUFFIXES, find_files, no_files
from bertpress.tasks.reading.named import NAMED, check_name, settings_for
from bertpress.tasks.reading.settings import ReadingSettings


def test_the_defaults_of_each_data_set():
    shown = ("question_length", "step", "n_best", "longest_answer", "answers", "drop_windows_without_answer")
    found = {name: tuple(getattr(settings_for(name), field) for field in shown) for name in (*NAMED, "files")}
    assert found == {
        "squad": (64, 128, 20, 30, "all", False),
        "squad_v2": (64, 128, 20, 30, "all", False),
        "newsqa": (40, 128, 20, 30, "first", True),
        "natural_questions": (40, 128, 20, 30, "first", True),
        "triviaqa": (55, 1024, 10, 30, "all", False),
        "files": (64, 128, 20, 30, "all", False),
    }
    assert [name for name in NAMED if settings_for(name).shared_normalisation] == ["triviaqa"]
    assert [name for name in NAMED if settings_for(name).normaliser == "triviaqa"] == ["triviaqa"]
    assert {name: settings_for(name).unanswerable for name in (*NAMED, "files")} == {
        **dict.fromkeys(NAMED, False),
        "squad_v2": True,
        "files": None,
    }


def test_what_is_given_counts_also_where_it_is_the_general_default():
    assert settings_for("newsqa", ReadingSettings(question_length=64)).question_length == 64
    assert settings_for("newsqa", ReadingSettings(question_length=64)).answers == "first"
    assert settings_for("triviaqa", ReadingSettings(n_best=3, step=7)).step == 7


@pytest.mark.parametrize(
    "wrong", [{"step": 0}, {"n_best": 0}, {"null_threshold": float("nan")}, {"answers": "some"}, {"stride": 128}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReadingSettings(**wrong)


def test_files_are_found_by_split_and_by_published_name(tmp_path):
    for name in ("train-v2.0.json", "dev-v2.0.json", "train-v1.1.json", "other.json"):
        (tmp_path / name).write_text("{}")
    assert find_files(tmp_path, NAMED["squad_v2"]) == {
        "train": tmp_path / "train-v2.0.json",
        "validation": tmp_path / "dev-v2.0.json",
    }
    assert find_files(tmp_path, NAMED["squad"]) == {"train": tmp_path / "train-v1.1.json"}
    assert find_files(tmp_path, None) == {}
    assert find_files(tmp_path / "other.json", None) == {"train": tmp_path / "other.json"}
    for folder in ("train", "dev"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "NewsQA.jsonl.gz").write_bytes(b"")
    assert set(find_files(tmp_path, NAMED["newsqa"])) == {"train", "validation"}
    for suffix in SUFFIXES[:2]:
        (tmp_path / f"test{suffix}").write_text("")
    with pytest.raises(RequestError, match=r"one test file .* test.parquet and test.jsonl: remove"):
        find_files(tmp_path, NAMED["squad"])
    with pytest.raises(RequestError, match=r"Expected a folder at .*nothing"):
        find_files(tmp_path / "missing", NAMED["squad"])
    assert "train, validation, test, train-v1.1, dev-v1.1 as .parquet" in str(no_files(tmp_path, NAMED["squad"]))


def test_an_unknown_name_is_refused():
    check_name("files")
    with pytest.raises(RequestError, match=r"'squad2'.*did you mean 'squad'"):
        check_name("squad2")


def test_settings_and_names_load_no_torch():
    code = "import bertpress.tasks.reading.named, sys; print(sorted({'torch', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
