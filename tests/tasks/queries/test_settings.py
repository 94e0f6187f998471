from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bertpress.config import build
from bertpress.errors import RequestError
from bertpress.tasks.queries.settings import QuerySettings
from bertpress.tasks.queries.shipped import SHIPPED, queries_for


def test_the_defaults_are_those_of_the_loss() -> None:
    focal, plain = QuerySettings(), QuerySettings(loss="cross_entropy")
    assert (focal.loss, focal.gamma, focal.reduction, focal.unpaired) == ("focal", 1.5, "token_sum", "drop")
    assert (plain.gamma, plain.reduction) == (None, "token_mean")
    assert (QuerySettings(nested=True).match_weight, QuerySettings(nested=True).unpaired) == (1.0, None)


@pytest.mark.parametrize("fields", [{}, {"loss": "cross_entropy"}, {"nested": True}, {"reduction": "token_mean"}])
def test_settings_survive_being_written(fields: dict[str, Any]) -> None:
    settings = QuerySettings(**fields)
    assert build(QuerySettings, settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"loss": "cross_entropy", "gamma": 2.0}, "gamma goes with the focal loss only"),
        ({"match_weight": 0.5}, "match_weight goes with nested entities only"),
        ({"nested": True, "unpaired": "single"}, "unpaired goes with entities that are not nested only"),
        ({"start_weight": 0}, "never learned"),
        ({"end_weight": 0}, "never learned"),
        ({"threshold": 1}, "less than 1"),
        ({"overlap": 1}, "less than or equal to 0.9"),
        ({"gama": 1}, "unknown field 'gama'"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        build(QuerySettings, fields)


def test_the_settings_load_neither_torch_nor_data() -> None:
    code = (
        "import bertpress.tasks.queries.settings, bertpress.tasks.queries.shipped, sys;"
        "print(sorted(set(sys.modules) & {'torch', 'transformers', 'datasets'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_queries_of_the_specification() -> None:
    for name in ("msra_ner", "peoples_daily_ner"):
        assert queries_for(name, ("PER", "ORG", "LOC")) == {
            "PER": "找出真实和虚构的人名",
            "ORG": "找出公司，商业机构，社会组织等组织机构",
            "LOC": "找出国家，城市，山川等抽象或具体的地点",
        }


def test_shipped_queries_tell_types_apart() -> None:
    sizes = {name: len(set(queries.values())) for name, queries in SHIPPED.items()}
    assert sizes == {name: len(queries) for name, queries in SHIPPED.items()}
    assert sizes == {
        "msra_ner": 3,
        "peoples_daily_ner": 3,
        "conll2003": 4,
        "cluener": 10,
        "weibo_ner": 8,
        "resume_ner": 8,
    }


def test_the_order_is_that_of_the_types_or_of_the_file(tmp_path: Path) -> None:
    assert list(queries_for("conll2003", ("PER", "ORG", "LOC", "MISC"))) == ["PER", "ORG", "LOC", "MISC"]
    for name, text in (("own.yaml", "ORG: who?\nPER: whom?\n"), ("own.json", '{"ORG": "who?", "PER": "whom?"}')):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert list(queries_for("files", ("PER", "ORG"), str(tmp_path / name)).items()) == [
            ("ORG", "who?"),
            ("PER", "whom?"),
        ]


def test_a_file_names_the_types_of_data_that_have_none(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("B: who?\nA: whom?\n")
    assert list(queries_for("files", (), str(tmp_path / "own.yaml"))) == ["B", "A"]


def test_own_sentences_may_lack_a_type_and_those_of_a_named_data_set_may_not(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("PER: who?\nDATE: when?\nORG: what?\nLOC: where?\nMISC: else?\n")
    assert list(queries_for("files", ("PER", "ORG"), str(file))) == ["PER", "DATE", "ORG", "LOC", "MISC"]
    with pytest.raises(RequestError, match=r"Expected types of entities in .*found 'DATE'"):
        queries_for("conll2003", ("PER", "ORG", "LOC", "MISC"), str(file))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("PER: who?", "none for ORG"),
        ("PER: who?\nOGR: what?", "none for ORG .did you mean 'OGR'"),
        ("PER: who?\nORG: '  '", "question for ORG"),
        ("PER: who?\nORG:", "question for ORG"),
        ("PER: who?\nORG: [a, b]", "question for ORG"),
        ("- PER", "lines such as 'PER: what to look for'"),
        ("", "lines such as 'PER: what to look for'"),
        ("PER: 'who", "cannot be read"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "queries.yaml"
    file.write_text(text)
    with pytest.raises(RequestError, match=reason) as refusal:
        queries_for("files", ("PER", "ORG"), str(file))
    assert "queries.yaml" in str(refusal.value)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "queries.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RequestError, match="no text in UTF-8"):
        queries_for("files", ("PER",), str(tmp_path / "queries.yaml"))
    with pytest.raises(RequestError, match=r"there is none \(did you mean 'queries.yaml'"):
        queries_for("files", ("PER",), str(tmp_path / "querys.yaml"))
    (tmp_path / "queries.json").write_text('{"PER": }')
    with pytest.raises(RequestError, match=r"queries.json, but it cannot be read"):
        queries_for("files", ("PER",), str(tmp_path / "queries.json"))


def test_without_shipped_queries_the_file_to_write_is_shown() -> None:
    with pytest.raises(RequestError, match="none is shipped for A, B-C of files: write ") as refusal:
        queries_for("files", ("A", "B-C"))
    assert '{"A": "what to look for", "B-C": "what to look for"}' in str(refusal.value)
    assert "--queries " in str(refusal.value)
    with pytest.raises(RequestError, match="none is shipped for DATE of conll2003"):
        queries_for("conll2003", ("PER", "DATE"))
    with pytest.raises(RequestError, match="none is shipped for those of files"):
        queries_for("files", ())
