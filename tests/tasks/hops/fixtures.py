"""Small questions on several paragraphs in the schemas of the original data sets."""

from __future__ import annotations

from typing import Any

HOTPOT: list[dict[str, Any]] = [
    {
        "_id": "h1",
        "question": "was the house old",
        "answer": "the green tree",
        "context": [
            ["a road", ["It is grey.", " It was slow."]],
            ["the house", ["the house is at a river.", " There is the green  tree."]],
            ["the tree", ["The green tree is very full.", "Quite.", ""]],
        ],
        "supporting_facts": [["the house", 1], ["the tree", 0]],
        "type": "bridge",
        "level": "hard",
    },
    {
        "_id": "h2",
        "question": "is the day warm",
        "answer": "Yes",
        "context": [["a day", ["the day is warm", "and green"]], ["a book", ["yes and no"]]],
        "supporting_facts": [["a day", 0]],
        "type": "comparison",
        "level": "easy",
    },
]
HUB = [
    {
        "id": row["_id"],
        **{name: row[name] for name in ("question", "answer", "type", "level")},
        "context": {"title": [t for t, _ in row["context"]], "sentences": [s for _, s in row["context"]]},
        "supporting_facts": {
            "title": [t for t, _ in row["supporting_facts"]],
            "sent_id": [n for _, n in row["supporting_facts"]],
        },
    }
    for row in HOTPOT
]
"""The same with the Hub's columns."""
GRAPH: list[dict[str, Any]] = [
    {
        "qid": "x1",
        "question": "was the house old",
        "answer": "Green Trees",
        "edge": [[0, 1]],
        "node": [
            {
                "name": "The_house",
                "context": ["the", "house", "is", "grey", "green", "tree", "##s", "."],
                "spans": [[4, 6]],
                "sent_pos": [[0, 4], [4, 8]],
                "supp_label": [0, 1],
                "has_supp": True,
            },
            {
                "name": "a_road",
                "context": ["it", "is", "slow"],
                "spans": [],
                "sent_pos": [[0, 3]],
                "supp_label": [1],
                "has_supp": True,
            },
        ],
    }
]
"""A line of Transformer-XH for training."""
RERANKED: list[dict[str, Any]] = [
    {
        **GRAPH[0],
        "node": [
            {
                **GRAPH[0]["node"][0],
                "doc_tokens": ["The", "house", "is", "grey", "Green", "Trees."],
                "tok_to_orig_index": [0, 1, 2, 3, 4, 5, 5, 5],
            }
        ],
    }
]
"""One for development, with the words that the pieces belong to."""
