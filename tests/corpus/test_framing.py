from __future__ import annotations

from typing import Any

import pytest
from conftest import make_tokenizer

from bertpress.corpus.framing import FIRST, SECOND, frame_of
from bertpress.errors import RequestError


def with_template(single: str, pair: str, inputs: list[str]) -> Any:
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(make_tokenizer().backend_tokenizer.to_str())
    special = [("[CLS]", 2), ("[SEP]", 3)]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", model_input_names=inputs)


BERT = with_template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ["input_ids", "token_type_ids", "attention_mask"])
ROBERTA = with_template("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]", ["input_ids", "attention_mask"])
XLNET = with_template("$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2", ["input_ids", "token_type_ids"])


@pytest.mark.parametrize("tokenizer", [BERT, ROBERTA, XLNET])
def test_rows_are_framed_as_the_tokenizer_does(tokenizer: Any) -> None:
    frame = frame_of(tokenizer)
    assert frame.has_segments == ("token_type_ids" in tokenizer.model_input_names)
    texts = "the house was", "green", "zebra"
    a, b, c = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    for ids, given in (((a,), texts[:1]), ((b, a), (texts[1], texts[0])), ((c, c), (texts[2], texts[2]))):
        expected = tokenizer(*given, return_token_type_ids=True)
        assert frame.fill(*ids) == (expected["input_ids"], expected["token_type_ids"])
        assert frame.special(pair=len(ids) == 2) == tokenizer.num_special_tokens_to_add(pair=len(ids) == 2)
        assert frame.begin(pair=len(ids) == 2) == expected.sequence_ids(0).index(0)


def test_a_frame_by_hand() -> None:
    frame = frame_of(BERT)
    assert frame.single == ((2, 0), (FIRST, 0), (3, 0))
    assert frame.pair == ((2, 0), (FIRST, 0), (3, 0), (SECOND, 1), (3, 1))


def test_a_tokenizer_that_knows_nothing() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(RequestError, match="gives no token for any"):
        frame_of(empty)
