"""The slow side of augmentation.py: augmentation in the arrangement of the paper's published program.

As a competent user would run it today: float32, all threads, no gradients, the stock attention. What makes the
arrangement: one forward pass per word with a batch of 1 and logits for every position; word, text and masked text are
tokenised anew for each word; the whole vocabulary is sorted; each word of several pieces is compared with the whole
table of word vectors; the copies are made word by word in Python.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

WORD = re.compile(r"\w+|[^\w\s]")
MOST = 512


class Original:
    """Augments one text after the other.

    Args:
        vectors: rows of length 1, one for each of `names`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        names: Sequence[str],
        vectors: np.ndarray,
        stopwords: Collection[str],
        candidates: int = 15,
        probability: float = 0.4,
        samples: int = 30,
    ) -> None:
        self.model, self.tokenizer, self.stopwords = model.eval(), tokenizer, stopwords
        self.names, self.vectors = names, vectors
        self.numbers = {name: number for number, name in enumerate(names)}
        self.count, self.probability, self.samples = candidates, probability, samples
        self.random = random.Random(1)

    def rows(self, texts: Sequence[str]) -> list[list[str]]:
        """The original texts of a row and, after them, those with one text augmented."""
        made = [list(texts)]
        for field, text in enumerate(texts):
            made += [[*texts[:field], copy, *texts[field + 1 :]] for copy in self.copies(text)[1:]]
        return made

    def copies(self, text: str) -> list[str]:
        """The text, then its copies without repetitions."""
        words = WORD.findall(text.lower())
        lists = [self.propose(words, place) for place in range(len(words))]
        made = [" ".join(words)]
        for _ in range(self.samples):
            copy = list(words)
            for place, candidates in enumerate(lists):
                if candidates and self.random.random() < self.probability:
                    copy[place] = self.random.choice(candidates)
            if (joined := " ".join(copy)) not in made:
                made.append(joined)
        return made

    def propose(self, words: Sequence[str], place: int) -> list[str]:
        """The candidates of one word."""
        word = words[place]
        if not re.fullmatch("[a-z]+", word) or word in self.stopwords:
            return []
        if len(self.tokenizer.tokenize(word)) > 1:
            return self.neighbours(word)
        return self.predicted(words, place)

    def predicted(self, words: Sequence[str], place: int) -> list[str]:
        """The best tokens at the place of a masked word, pieces of words left out."""
        tokenizer = self.tokenizer
        original = tokenizer.tokenize(" ".join(words))
        masked = tokenizer.tokenize(" ".join([*words[:place], tokenizer.mask_token, *words[place + 1 :]]))
        first = [tokenizer.cls_token, *masked, tokenizer.sep_token]
        tokens = [*first, *original, tokenizer.sep_token][:MOST]
        segments = ([0] * len(first) + [1] * (len(original) + 1))[:MOST]
        ids = tokenizer.convert_tokens_to_ids(tokens)
        with torch.no_grad():
            logits = self.model(
                input_ids=torch.tensor([ids]),
                token_type_ids=torch.tensor([segments]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            ).logits[0]
        order = torch.argsort(logits[tokens.index(tokenizer.mask_token)], descending=True)[: self.count]
        found = tokenizer.convert_ids_to_tokens(order.tolist())
        return [token for token in found if not token.startswith("##")]

    def neighbours(self, word: str) -> list[str]:
        """The words of highest cosine."""
        if word not in self.numbers:
            return []
        cosine = self.vectors @ self.vectors[self.numbers[word]]
        order = np.argsort(-cosine)[: self.count + 1]
        return [self.names[number] for number in order.tolist() if self.names[number] != word][: self.count]
