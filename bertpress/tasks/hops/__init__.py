"""Multi-hop reading: answer a question from several paragraphs, and name the sentences that the answer rests on.

A record is a question with its paragraphs; `formats` reads them, `records` checks and keeps them, `features` makes one
input of tokens, `task` is what methods train and measure, `decoding` turns scores into answers, and `metrics` scores
answers and sentences as HotpotQA does.
"""
