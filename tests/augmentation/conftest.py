"""Tokenizers of other kinds, and a masked-language model, all tiny."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_config, make_tokenizer, randomise


@pytest.fixture(scope="session")
def byte_level() -> Any:
    """Byte-level BPE, as RoBERTa and ModernBERT have it; words are whole only as far as the merges go."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet]
    merges: list[tuple[str, str]] = []
    for word in ("Ġhouse", "Ġriver", "Ġthe", "Ġa", "ĠHouse", "Ġroad", "house", "river"):
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    backend = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", cls_token="<s>", sep_token="</s>",
        mask_token="<mask>",
    )  # fmt: skip


@pytest.fixture(scope="session")
def chinese() -> Any:
    """WordPiece over single characters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = "我爱北京上海人大学生你他好"
    vocabulary = {
        token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters])
    }
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip


def make_masked_lm(family: str = "bert", seed: int = 0, **fields: Any) -> Any:
    """A masked-language model of 4 tiny layers with random parameters."""
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_config(make_config(family, **fields))
    randomise(model, seed)
    return model.eval()


@pytest.fixture(scope="session")
def masked_lm_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Saves a masked-language model of a family with its tokenizer, once."""

    @functools.cache
    def save(family: str = "bert") -> Path:
        folder: Path = tmp_path_factory.mktemp("masked") / family
        make_masked_lm(family).save_pretrained(folder)
        make_tokenizer(family).save_pretrained(folder)
        return folder

    return save
