"""Sentence embeddings as a task: one vector a text, judged by the similarity of pairs."""
