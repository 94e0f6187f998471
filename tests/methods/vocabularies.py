"""Tokenizers of every kind, learned from a few words: their tokens are pieces of several characters."""

from __future__ import annotations

import functools
import json
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

STEMS = ("token", "work", "look", "read", "play", "number", "paper", "answer", "question", "number")
ENDS = ("", "s", "ed", "ing", "er", "less", "ly")
WORDS = [stem + end for stem in STEMS for end in ENDS]
LINES = [" ".join(WORDS[start : start + 9]) + ", 12." for start in range(0, len(WORDS) - 8, 2)] * 4
SEEN = LINES[: len(LINES) // 8]
"""The texts whose tokens stay."""
ODD = ["naïve 漢字 12", "𝛼 ✓ tokenlessly", "workworkwork\u200d\t x", "", "ЖЖ ж"]
"""Texts with characters that the vocabularies may lack."""
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
DEBERTA = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]


@functools.cache
def trained(kind: str) -> Any:
    """A tokenizer as transformers loads it: wordpiece (BERT), bytes (RoBERTa), unigram (XLM-R) or deberta."""
    import transformers

    if kind == "wordpiece":
        learner: Any = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]
        vocabulary = _learned(learner, trainers.WordPieceTrainer, special=special)["vocab"]
        # As in published vocabularies, special tokens are not the first, and tokens that nothing is made of are many.
        words = [*(f"[unused{number}]" for number in range(9)), *vocabulary]
        return transformers.BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    if kind == "bytes":
        learner = Tokenizer(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        model = _learned(learner, trainers.BpeTrainer, special=ROBERTA, initial_alphabet=alphabet)
        merges = [tuple(merge) for merge in model["merges"]]
        return transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges, model_max_length=64)
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ROBERTA if kind == "unigram" else DEBERTA
    model = _learned(learner, trainers.UnigramTrainer, special=special, unk_token=special[3])
    pieces = [tuple(piece) for piece in model["vocab"]]
    if kind == "unigram":
        return transformers.XLMRobertaTokenizer(vocab=pieces)
    tokenizer = transformers.DebertaV2Tokenizer(vocab=pieces, unk_id=3)
    assert tokenizer.mask_token_id == len(pieces)  # an added token behind the model's own
    return tokenizer


KINDS = ("wordpiece", "bytes", "unigram", "deberta")


def _learned(learner: Any, trainer: Any, special: list[str], **options: Any) -> dict[str, Any]:
    options = {"vocab_size": 400, "special_tokens": special, "show_progress": False, **options}
    learner.train_from_iterator(LINES, trainer(**options))
    model: dict[str, Any] = json.loads(learner.to_str())["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = dict(sorted(model["vocab"].items(), key=lambda entry: entry[1]))
    return model
