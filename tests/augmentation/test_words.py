from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bertpress.augmentation import Augmentation
from bertpress.augmentation.words import Analyser, basic_words, segmented_words, stop_words
from bertpress.engine.loading import load_tokenizer
from bertpress.errors import RequestError


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in basic_words(text)]


def test_basic_words() -> None:
    assert words('He said: "don\'t\tgo,\nJosé"—now_5%') == ["He", "said", "don", "t", "go", "José", "now", "5"]
    assert words("我爱NLP模型。") == ["我", "爱", "NLP", "模", "型"]
    assert words("jose\u0301 नमस्ते") == ["jose\u0301", "नमस्ते"], "combining marks stay in their word"
    assert words("") == words(" \t\n") == words("... !?") == []


def test_basic_words_are_those_of_bert(tokenizer: Any) -> None:
    text = "It's (about) 12.5% of “Müller-Lüdenscheidt's” 3km/h, e.g. $5 & a_b 日本語text"
    normal = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    expected = [part for part, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
    ours = [tokenizer.backend_tokenizer.normalizer.normalize_str(word).strip() for word in words(text)]
    assert ours == [part for part in expected if re.search(r"\w", part) and part != "_"]


def test_the_stop_words() -> None:
    english = stop_words("en")
    assert len(english) == 173
    assert {"'s", "'re", "the", "wouldn't", "ourselves"} <= english
    assert not english & {"what", "which", "who", "whom", "when", "where", "why", "how"}
    assert stop_words("none") == frozenset()


def test_stop_words_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "stop.txt").write_text("House\n\n road \n", encoding="utf-8")
    assert stop_words(str(tmp_path / "stop.txt")) == {"house", "road"}
    with pytest.raises(RequestError, match=r"expected en, none or a file.*stop.tx'.*did you mean 'stop.txt'"):
        stop_words(str(tmp_path / "stop.tx"))


def analyser(tokenizer: Any, **settings: Any) -> Analyser:
    return Analyser.of(Augmentation(**settings), tokenizer)


def test_eligible_words_and_their_tokens(tokenizer: Any) -> None:
    text = "The Bright house2 was housey, the RIVER!"
    (analysis,) = analyser(tokenizer).analyse([text])
    found = [(text[word.start : word.end], word.pieces) for word in analysis.words]
    assert [word for word, _ in found] == ["Bright", "housey", "RIVER"], "no stop words, only letters"
    tokens = tokenizer.convert_ids_to_tokens(analysis.ids)
    assert [[tokens[piece] for piece in pieces] for _, pieces in found] == [["bright"], [], ["river"]]


def test_a_pattern_of_ones_own(tokenizer: Any) -> None:
    text = "größe 模 2nd"
    eligible = [
        text[word.start : word.end] for word in analyser(tokenizer, word_pattern=r"[^\W\d_]+").analyse([text])[0].words
    ]
    assert eligible == ["größe", "模"]
    with pytest.raises(ValueError, match="regular expression of Python"):
        Augmentation(word_pattern=r"\p{L}+")


def test_offsets_of_byte_level_tokens(byte_level: Any) -> None:
    text = "a house, the (river) rivers"
    (analysis,) = analyser(byte_level).analyse([text])
    found = {(word.start, word.end): word.pieces for word in analysis.words}
    tokens = byte_level.convert_ids_to_tokens(analysis.ids)
    named = {text[start:end]: [tokens[piece] for piece in pieces] for (start, end), pieces in found.items()}
    assert named == {"house": ["Ġhouse"], "river": ["river"], "rivers": []}


def test_segmented_words() -> None:
    text = "他 在北京 大学"
    spans = segmented_words(text, ["他", "在", "北京大学"])
    assert [text[start:end] for start, end in spans] == ["他", "在", "北京 大学"]


def test_a_segmentation_makes_words_of_several_characters(tmp_path: Path, chinese: Any) -> None:
    file = tmp_path / "segmented.txt"
    file.write_text("我 爱 北京\n", encoding="utf-8")
    own = analyser(chinese, word_segments=str(file), masked_lm="any", word_pattern=r"[\u4e00-\u9fff]+")
    (known, unknown) = own.analyse(["我爱北京", "我北京"])
    assert [("我爱北京"[word.start : word.end], word.pieces) for word in known.words] == [
        ("我", (0,)),
        ("爱", (1,)),
        ("北京", (2, 3)),
    ]
    assert [word.pieces for word in unknown.words] == [(0,), (1,), (2,)]
    assert analyser(chinese).analyse(["我爱北京"])[0].words == [], "the default pattern wants ASCII letters"


def test_files_of_segments_that_cannot_be_used(tmp_path: Path, chinese: Any) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    for file, message in ((empty, "found none"), (tmp_path / "no.txt", "which is no file")):
        with pytest.raises(RequestError, match=message):
            analyser(chinese, word_segments=str(file), masked_lm="any")


def test_the_packaged_tokenizer_splits_words_as_ever() -> None:
    own = analyser(load_tokenizer("packaged-minilm"))
    text = 'The "embeddings"\tof Zürich, naïvely computed'
    (analysis,) = own.analyse([text])
    assert {text[word.start : word.end]: len(word.pieces) for word in analysis.words} == {
        "embeddings": 0,
        "computed": 1,
    }
