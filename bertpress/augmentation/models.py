"""Models as augmentation wants them: one that guesses words, a table of embeddings, and what tells one from another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.engine.loading import cannot_load, load_config, load_weights, model_folder
from bertpress.errors import RequestError
from bertpress.files import digest

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel


def load_masked_lm(name: str, trust_remote_code: bool = False) -> PreTrainedModel:
    """A masked-language model in float32 and eval mode.

    Raises:
        RequestError: no such model, one without a trained language-model head, or of an architecture without a row.
    """
    from bertpress.encoders import encoder_of

    config = load_config(name, trust_remote_code)
    encoder_of(config)  # refuses what has no row
    model, missing = load_weights(name, config, "masked-lm", True, trust_remote_code)
    if missing:
        raise RequestError(
            f"{name} is not a masked-language model (missing: {', '.join(missing[:4])}); "
            "give the pre-trained model, with its language-model head."
        )
    return model.eval()


def load_embeddings(name: str, trust_remote_code: bool = False) -> np.ndarray:
    """A model's input embeddings, shape (vocabulary, width), float32.

    Raises:
        RequestError: no such model.
    """
    model, _ = load_weights(name, load_config(name, trust_remote_code), None, True, trust_remote_code)
    weight: np.ndarray = model.get_input_embeddings().weight.detach().numpy()
    return weight


def model_identity(name: str) -> str:
    """What tells a model's weights and tokenizer apart: a digest of the files of a folder, a name's commit on the Hub.

    Raises:
        RequestError: no such model.
    """
    from transformers.utils import cached_file

    folder = Path(model_folder(name))
    if not folder.is_dir():
        try:
            return f"{name}@{Path(cached_file(str(folder), 'config.json')).parent.name}"
        except OSError as error:
            raise RequestError(cannot_load(name, error)) from None
    files = sorted(path for path in folder.iterdir() if path.suffix in IDENTIFYING)
    return digest(*(part for path in files for part in (path.name.encode(), path)))[:16]


IDENTIFYING = (".safetensors", ".bin", ".json", ".txt", ".model")
"""Suffixes of the files that hold weights, configuration and tokenizer."""
