from __future__ import annotations

import pytest
from conftest import make_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers

from bertpress.fingerprints import plain_backend
from bertpress.tasks.encoding import count_longer


def test_tokens_that_are_parts_of_a_character_are_counted() -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # as those of GPT-2 and RoBERTa
    assert count_longer(backend, ["什么时候", "when", "who led them"], 11) == 2
    assert count_longer(backend, ["什么时候"], 12) == 0


@pytest.mark.parametrize(("most", "count"), [(1, 1), (2, 1), (3, 0)])
def test_longer_texts_are_counted(most: int, count: int) -> None:
    texts = ["house " * 3, "house", ""]
    assert count_longer(plain_backend(make_tokenizer()), texts, most) == count
