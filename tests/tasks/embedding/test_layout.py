"""What stands behind an encoder, read and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import make_config

from bertpress.engine.loading import packaged_minilm
from bertpress.errors import RequestError
from bertpress.tasks.embedding.layout import Layout, files_of, note_layout, noted_layout, own_layout, read_layout

NEW = "sentence_transformers.base.modules.transformer.Transformer"


def written(folder: Path, **files: Any) -> str:
    """A folder of such files, by names with _ for what names of arguments cannot have."""
    names = {"modules": "modules.json", "pooling": "1_Pooling/config.json"}
    names |= {"options": "config_sentence_transformers.json", "encoder": "sentence_bert_config.json"}
    kinds = [NEW, "sentence_transformers.sentence_transformer.modules.pooling.Pooling"]
    modules = [{"idx": place, "name": str(place), "path": f"{place}_Pooling" if place else "", "type": kind}
               for place, kind in enumerate(kinds)]  # fmt: skip
    for name, content in {"modules": modules, **files}.items():
        path = folder / names[name]
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize(
    "layout",
    [
        Layout(),
        Layout(pooling="cls", normalize=True),
        Layout(pooling="max", max_seq_length=77, prompts={"query": "query: "}),
    ],
    ids=str,
)
def test_what_is_written_is_read(layout: Layout, tmp_path: Path) -> None:
    for name, content in files_of(layout, 16).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    assert read_layout(str(tmp_path)) == layout


def test_the_packaged_model_says_how_it_makes_vectors() -> None:
    expected = Layout(pooling="mean", normalize=True, max_seq_length=256)
    assert read_layout(str(packaged_minilm())) == expected


def test_a_folder_without_modules_says_nothing(tmp_path: Path) -> None:
    assert read_layout(str(tmp_path)) is None
    assert own_layout(make_config()) is None


def test_the_files_of_newer_versions_are_read(tmp_path: Path) -> None:
    pooling = {"embedding_dimension": 16, "pooling_mode": "cls", "include_prompt": True}
    assert read_layout(written(tmp_path, pooling=pooling)) == Layout(pooling="cls")


def test_a_configuration_keeps_a_layout_beside_what_else_it_keeps() -> None:
    config = make_config(task_specific_params={"qa": {"step": 4}})
    note_layout(config, Layout(pooling="max"))
    assert own_layout(config) == noted_layout(config) == Layout(pooling="max")
    assert config.task_specific_params["qa"] == {"step": 4}
    assert type(config).from_dict(config.to_dict()).task_specific_params == config.task_specific_params


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules": [{"path": "", "type": NEW}, {"path": "1", "type": "a.Pooling"}, {"path": "2", "type": "a.Dense"}]},
         "made of Transformer, Pooling, Dense"),
        ({"modules": [{"path": "0_Transformer", "type": NEW}, {"path": "1", "type": "a.Pooling"}]}, "made of"),
        ({"modules": [{"path": ""}]}, "modules.json is damaged"),
        ({"pooling": {"pooling_mode": "lasttoken"}}, "pools by lasttoken; expected mean or cls or max"),
        ({"pooling": {"pooling_mode_mean_sqrt_len_tokens": True}}, "pools by mean_sqrt_len_tokens"),
        ({"pooling": {"pooling_mode": ["mean", "max"]}}, "pools by mean and max"),
        ({"options": {"default_prompt_name": "query"}}, "puts the prompt 'query'"),
        ({"encoder": {"do_lower_case": True}}, "lowers texts"),
    ],
)  # fmt: skip
def test_what_would_give_other_vectors_is_refused(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        read_layout(written(tmp_path, **files))
