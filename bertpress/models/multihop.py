"""The head that answers from several paragraphs: a span, the kind of the answer, and which sentences it rests on.

Saved beside the weights of such a model; imports nothing of bertpress but its neighbours.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.utils.generic import ModelOutput, can_return_tuple

SPAN, KIND, SENTENCE = slice(0, 2), slice(2, 5), slice(5, 7)
"""Columns of the logits: of every token start and end; of the first token whether the answer is a span, yes or no; of
a sentence's first token whether the answer does not rest on it, or does."""
OUTPUTS = 7
NOWHERE = -1
"""fills up the sentences of a row that has fewer than others"""


@dataclass
class MultiHopOutput(ModelOutput):
    """What the head says, in one tensor; columns of tokens that they say nothing of are 0."""

    logits: Tensor | None = None  # (batch, length, 7), see SPAN, KIND and SENTENCE
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MultiHopHead:
    """Mixed in before the base class of an architecture's models: its compact encoder and the head above it.

    The modules have the names of TR-BERT's code, so that weights trained there fit.
    """

    encoder_class: ClassVar[Any]
    _auto_class = "AutoModelForMultiHop"  # with a name here, `save_pretrained` copies the code beside the weights

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        encoder = self.encoder_class(config)
        if hasattr(encoder, "pooler"):
            encoder.pooler = None
        setattr(self, self.base_model_prefix, encoder)  # type: ignore[attr-defined]
        width = config.hidden_size
        self.qa_outputs = nn.Linear(width, 2)
        self.qa_classifier = nn.Linear(width, 3)
        self.sent_linear = nn.Linear(2 * width, width)
        self.sent_classifier = nn.Linear(width, 2)
        self.post_init()  # type: ignore[attr-defined]

    def __init_subclass__(cls, **options: Any) -> None:
        """Give `forward` the encoder's signature and `sentences`: who calls it looks up there what it takes."""
        super().__init_subclass__(**options)

        def forward(self: Any, *args: Any, **given: Any) -> Any:
            return MultiHopHead.forward(self, *args, **given)

        inputs = inspect.signature(cls.encoder_class.forward)
        sentences = inspect.Parameter("sentences", inspect.Parameter.KEYWORD_ONLY, default=None)
        *known, rest = inputs.parameters.values()
        forward.__signature__ = inputs.replace(parameters=[*known, sentences, rest])  # type: ignore[attr-defined]
        cls.forward = forward  # type: ignore[method-assign]

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        sentences: Tensor | None = None,
        **options: Any,
    ) -> MultiHopOutput:
        """The encoder's forward pass and the head's.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 where there is a token.
            args: further ones of the encoder.
            sentences: (batch, sentences, 2) first and last token of each, -1 where a row has fewer; without, nothing
                is said about sentences.
            options: those of the encoder.
        """
        encoder = getattr(self, self.base_model_prefix)  # type: ignore[attr-defined]
        found = encoder(input_ids, attention_mask, *args, return_dict=True, **options)
        states: Tensor = found.last_hidden_state
        span, kind = self.qa_outputs(states), self.qa_classifier(pooled(states, attention_mask))
        logits = torch.cat([span, span.new_zeros(*span.shape[:2], OUTPUTS - 2)], dim=-1)
        logits[:, 0, KIND] = kind
        if sentences is not None:
            about = self._of_sentences(states, sentences).to(logits.dtype)
            logits = torch.cat([logits[..., : SENTENCE.start], about], dim=-1)
        return MultiHopOutput(logits, found.get("hidden_states"), found.get("attentions"))

    def _of_sentences(self, states: Tensor, sentences: Tensor) -> Tensor:
        """(batch, length, 2): what is said of each sentence at its first token, 0 elsewhere."""
        batch, length = states.shape[:2]
        rows, places = torch.nonzero(sentences[..., 0] != NOWHERE, as_tuple=True)
        firsts, lasts = sentences[rows, places].unbind(-1)
        pairs = torch.cat([states[rows, firsts], states[rows, lasts]], dim=-1)  # (sentences of all rows, 2 width)
        found: Tensor = self.sent_classifier(functional.gelu(self.sent_linear(pairs)))
        table = found.new_zeros(batch * length, 2).index_put((rows * length + firsts,), found)
        return table.view(batch, length, 2)


def pooled(states: Tensor, mask: Tensor | None) -> Tensor:
    """The largest value of each feature over the tokens of a row, (batch, width); padding has none."""
    if mask is not None:
        states = states.masked_fill(mask[..., None] == 0, -torch.inf)
    return states.amax(dim=1)
