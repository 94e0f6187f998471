"""Named entities by reading comprehension: a model is asked for one type at a time and marks starts and ends.

The idea: each type of entity has a question, written as annotators would be told. A sentence is read once for each, and
two outputs say of each word whether an entity of that type starts or ends there.

Source: Li et al., "A Unified MRC Framework for Named Entity Recognition", arXiv 1910.11476, and the tagging project on
which Theseus was tried in TensorFlow, whose focal loss is the default here.

How we differ, and why: the heads are one stock token-classification head with an output each (one logit says what a
softmax over two classes says), so that a model loads anywhere, with its usual dropout before the head; matching is
additive, for the same reason; an entity of one word ends where it starts; scores count places and types (the lenient
score that was published stands beside them); long sentences are read through windows, of which none cuts an entity in
training.
"""
