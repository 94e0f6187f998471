"""Reading: answer a question by a span of a text, or by nothing where the text does not say.

A record is a question with its text; `formats` reads them, `features` makes windows of tokens, `task` is what methods
train and measure, `decoding` turns scores of tokens into answers, and `metrics` scores answers as SQuAD, MRQA and
TriviaQA do.
"""
