"""What stands behind an encoder of sentences: pooling and normalisation, as sentence-transformers writes them in files.

Read are the files of all its versions. Written are those of the older ones, which the newer ones and servers of
embeddings read as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field

from bertpress.config import Config, build
from bertpress.errors import RequestError
from bertpress.files import read_json, reading
from bertpress.tasks.embedding.settings import Pooling
from bertpress.tasks.heads import PARAMETERS, keep_settings, kept_settings

if TYPE_CHECKING:
    from transformers import PretrainedConfig

KIND = "embedding"
"""Under which a model's configuration keeps its layout."""
MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
"""Pooling to the field of older files."""
KNOWN = (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize"))
MODULES, OPTIONS, ENCODER = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"


class Layout(Config):
    """How a model makes vectors of its tokens' states."""

    pooling: Pooling = "mean"
    """which states"""
    normalize: bool = False
    """vectors of length 1"""
    max_seq_length: int | None = None
    """tokens at which sentence-transformers cuts texts; None: the tokenizer's"""
    prompts: dict[str, str | None] = Field(default_factory=dict)
    """names of texts that may be put before others; nothing is put there by default"""

    def reaching(self, length: int) -> Layout:
        """The layout of a model that is used with inputs of so many tokens, which then are not cut before."""
        if self.max_seq_length is None or self.max_seq_length >= length:
            return self
        return self.model_copy(update={"max_seq_length": length})


def noted_layout(config: PretrainedConfig) -> Layout | None:
    """The layout that a configuration keeps, if it does."""
    kept = kept_settings(config, KIND)
    return build(Layout, kept, where=f"{PARAMETERS}.{KIND}") if kept else None


def note_layout(config: PretrainedConfig, layout: Layout) -> None:
    """Let a configuration keep a layout, in place."""
    keep_settings(config, KIND, layout.model_dump(mode="json"))


def own_layout(config: PretrainedConfig) -> Layout | None:
    """What a model says about itself, by the files beside its weights or by its configuration.

    Raises:
        RequestError: there is more behind its encoder than pooling and normalisation, or another pooling.
    """
    return read_layout(config.name_or_path or "") or noted_layout(config)


def read_layout(name: str) -> Layout | None:
    """The layout in the files of a folder or hub name; None where it is no model of sentence-transformers.

    Raises:
        RequestError: see `own_layout`.
    """
    modules = _content(name, MODULES)
    if modules is None:
        return None
    with reading(Path(name) / MODULES, "save the model with sentence-transformers again"):
        kinds = tuple(str(module["type"]).rpartition(".")[2] for module in modules)
        paths = [str(module["path"]) for module in modules]
    if kinds not in KNOWN or paths[0]:
        raise RequestError(
            f"{name} is made of {', '.join(kinds)}; an encoder of sentences is pressed with pooling and normalisation "
            "behind it and nothing else, or its vectors would be others: give a model without the rest."
        )
    options, encoder = (_content(name, file) or {} for file in (OPTIONS, ENCODER))
    if options.get("default_prompt_name"):
        raise RequestError(
            f"{name} puts the prompt '{options['default_prompt_name']}' before every text; write it into the texts and "
            f"set default_prompt_name to null in {OPTIONS}."
        )
    if encoder.get("do_lower_case"):
        raise RequestError(
            f"{name} lowers texts before its tokenizer reads them; set do_lower_case to false in {ENCODER} if the "
            "tokenizer lowers them itself, else lower the texts."
        )
    return Layout(
        pooling=_pooling(name, _content(name, f"{paths[1]}/config.json") or {}),
        normalize="Normalize" in kinds,
        max_seq_length=encoder.get("max_seq_length"),
        prompts=options.get("prompts") or {},
    )


def _pooling(name: str, fields: dict[str, Any]) -> Pooling:
    """The one way of pooling that a configuration asks for."""
    found: Any = fields.get("pooling_mode")
    if found is None:
        on = [field for field, value in fields.items() if field.startswith("pooling_mode_") and value]
        spelled = {field: mode for mode, field in MODES.items()}
        found = [spelled.get(field, field.removeprefix("pooling_mode_")) for field in on] or ["mean"]
    modes: list[Any] = [found] if isinstance(found, str) else list(found)
    if len(modes) != 1 or modes[0] not in MODES:
        known, came = " or ".join(get_args(Pooling)), " and ".join(map(str, modes))
        raise RequestError(f"{name} pools by {came}; expected {known}: give a model that pools so.")
    mode: Pooling = modes[0]
    return mode


def _content(name: str, file: str) -> Any:
    """A JSON file of a folder or hub name; None where there is none."""
    from transformers.utils.hub import cached_file

    if not name:
        return None
    if Path(name).is_dir():
        path = Path(name) / file
    else:
        quiet = ("missing_entries", "connection_errors", "gated_repo")
        found = cached_file(name, file, **{f"_raise_exceptions_for_{what}": False for what in quiet})
        path = Path(found or "")
    if not path.is_file():
        return None
    with reading(path, "save the model with sentence-transformers again"):
        return read_json(path)


def files_of(layout: Layout, width: int) -> dict[str, Any]:
    """File names to contents, as JSON: what makes a folder of weights one of sentence-transformers.

    Args:
        width: numbers in a vector.
    """
    names = ["Transformer", "Pooling", *["Normalize"] * layout.normalize]
    paths = ["", *(f"{place}_{kind}" for place, kind in enumerate(names) if place)]
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(zip(names, paths, strict=True))
    ]
    length = {} if layout.max_seq_length is None else {"max_seq_length": layout.max_seq_length}
    return {
        MODULES: listed,
        f"{paths[1]}/config.json": {
            "word_embedding_dimension": width,
            **{field: mode == layout.pooling for mode, field in MODES.items()},
        },
        **({f"{paths[2]}/config.json": {}} if layout.normalize else {}),
        ENCODER: {**length, "do_lower_case": False},
        OPTIONS: {"prompts": layout.prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    }
