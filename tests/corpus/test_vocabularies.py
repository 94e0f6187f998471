from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bertpress.corpus import CorpusSpec
from bertpress.corpus import vocabulary as vocabularies
from bertpress.corpus.vocabulary import SPECIAL, build_tokenizer
from bertpress.errors import RequestError

ENGLISH = "The lower the newer, the WIDEST is widely known; lowest and newest.\n" * 3 + "wider lower knower\n" * 4
CHINESE = "深度学习很有意思。\n学习深度，学海无涯 DotA 2\n" * 3


def made(text: str, folder: Path, **fields: Any) -> Any:
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return build_tokenizer(CorpusSpec(files=str(folder / "text.txt")), **fields)


def test_characters_are_pieces(tmp_path: Path) -> None:
    tokenizer = made(CHINESE, tmp_path, kind="characters", size=1000)
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL)
    assert tokenizer.tokenize("深度学习，DotA") == [*"深度学习", "，", "d", "##o", "##t", "##a"]
    assert "##深" not in tokenizer.get_vocab()
    assert tokenizer.tokenize("鲸") == ["[UNK]"]
    assert tokenizer.convert_ids_to_tokens([5]) == ["学"], "the most frequent character"
    assert len(tokenizer) == 5 + len(set("深度学习很有意思。，海无涯d2")) + 2 * len("ota")


def test_rare_characters_are_the_first_to_go(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + number) * (200 - number) for number in range(150))
    tokenizer = made(text, tmp_path, kind="characters", size=100)
    assert sorted(tokenizer.get_vocab().values()) == list(range(100))
    assert set(tokenizer.get_vocab()) == {*SPECIAL, *(chr(0x4E00 + number) for number in range(95))}


def test_frequent_pieces_of_words_are_learned(tmp_path: Path) -> None:
    tokenizer = made(ENGLISH * 5, tmp_path, size=100)
    assert len(tokenizer) <= 100
    assert tokenizer.tokenize("lower newest") == ["lower", "newest"]
    assert "[UNK]" not in tokenizer.tokenize("wonder")
    assert made(ENGLISH, tmp_path, size=100, lowercase=False).tokenize("WIDEST")[0].startswith("W")


@pytest.mark.parametrize(("kind", "text"), [("wordpiece", ENGLISH), ("characters", CHINESE), ("wordpiece", CHINESE)])
def test_what_is_saved_is_loaded_by_transformers(kind: Any, text: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = made(text, tmp_path, kind=kind, size=120, max_length=64)
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert type(loaded) is type(tokenizer)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.model_max_length == 64
    first, second = text.split("\n")[:2]
    encoded = loaded(first, second)
    assert dict(encoded) == dict(tokenizer(first, second))
    names = loaded.convert_ids_to_tokens(encoded["input_ids"])
    assert (names[0], names[-1], names.count("[SEP]"), names.count("[UNK]")) == ("[CLS]", "[SEP]", 2, 0)
    assert set(encoded["token_type_ids"]) == {0, 1}
    special = loaded.pad_token_id, loaded.unk_token_id, loaded.cls_token_id, loaded.sep_token_id, loaded.mask_token_id
    assert special == (0, 1, 2, 3, 4)


@pytest.mark.slow
def test_every_process_learns_the_same(tmp_path: Path) -> None:
    """Words are counted in a map whose order differs from process to process."""
    words = [f"{a}{b}{c}" for a in "bdfgklm深" for b in "aeiou" for c in "nrstxyz度"]
    (tmp_path / "text.txt").write_text(
        "\n".join(" ".join(words[start::3]) for start in range(3)) + "\n" + " ".join(words)
    )
    code = (
        "import sys; from bertpress.corpus import CorpusSpec; from bertpress.corpus.vocabulary import build_tokenizer; "
        "print(sorted(build_tokenizer(CorpusSpec(files=sys.argv[1]), size=180).get_vocab().items()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "text.txt")]
    environments = [{**os.environ, "TOKENIZERS_PARALLELISM": parallel} for parallel in ("false", "true", "false")]
    outputs = {
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        for environment in environments
    }
    assert len(outputs) == 1


def test_of_very_long_text_evenly_spaced_lines_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabularies, "MOST_LINES", 10)
    tokenizer = made("深\n度\n学\n" * 10, tmp_path, kind="characters", size=100)
    assert set(tokenizer.get_vocab()) == {*SPECIAL, "深"}


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="at least 100 entries, got 99"):
        made(ENGLISH, tmp_path, size=99)
    with pytest.raises(RequestError, match="found none: give other files"):
        made("\n \n", tmp_path)
