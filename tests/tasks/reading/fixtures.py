"""Small files in the schemas of the original data sets, and a word tokenizer that knows all characters' places."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

NORMANS = "The Normans came from Normandy in 1066. They were led by William, the duke."
ROLLO = "Rollo founded the duchy in the year 911."

SQUAD_V2: dict[str, Any] = {
    "version": "v2.0",
    "data": [
        {
            "title": "Normans",
            "paragraphs": [
                {
                    "qas": [
                        {
                            "question": "Who led the Normans?",
                            "id": "q1",
                            "answers": [
                                {"text": "William", "answer_start": 57},
                                {"text": "William, the duke", "answer_start": 57},
                                {"text": "William", "answer_start": 57},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "plausible_answers": [{"text": "Normandy", "answer_start": 22}],
                            "question": "Where did the Saxons come from?",
                            "id": "q2",
                            "answers": [],
                            "is_impossible": True,
                        },
                    ],
                    "context": NORMANS,
                },
                {
                    "qas": [{"question": "When?", "id": "q3", "answers": [{"text": "911", "answer_start": 36}]}],
                    "context": ROLLO,
                },
            ],
        },
        {
            "title": "Empty",
            "paragraphs": [{"context": "", "qas": [{"question": "Why?", "id": "q4", "answers": []}]}],
        },
    ],
}

MRQA_CONTEXT = "[TLE] The duke [PAR] William won in 1066 . [PAR] In 1066 he was crowned ."
MRQA = [
    {"header": {"dataset": "NewsQA", "split": "dev"}},
    {
        "id": "",
        "context": MRQA_CONTEXT,
        "qas": [
            {
                "qid": "m1",
                "question": "When did he win?",
                "question_tokens": [["When", 0]],
                "detected_answers": [
                    {"text": "1066", "char_spans": [[36, 39], [52, 55]], "token_spans": [[8, 8], [12, 12]]},
                    {"text": "In 1066", "char_spans": [[49, 55]], "token_spans": [[11, 12]]},
                ],
                "answers": ["1066", "in 1066"],
            }
        ],
        "context_tokens": [["[TLE]", 0]],
    },
]
TRIVIA = {
    "context": "[DOC] [TLE] Sunset Boulevard [PAR] Sunset_Boulevard is a film by Billy Wilder.",
    "qas": [
        {
            "qid": "t1",
            "question": "Which film did Wilder make?",
            "detected_answers": [{"text": "sunset boulevard", "char_spans": [[12, 27]]}],
            "answers": {
                "Value": "Sunset Boulevard",
                "Aliases": ["Sunset Blvd", "Sunset Boulevard"],
                "NormalizedAliases": ["sunset blvd", "sunset boulevard"],
            },
        }
    ],
}
ROWS = [
    {
        "id": "q1",
        "title": "Normans",
        "context": NORMANS,
        "question": "Who led the Normans?",
        "answers": {"text": ["William", "William, the duke"], "answer_start": [57, 57]},
    },
    {
        "id": "q2",
        "title": "Normans",
        "context": NORMANS,
        "question": "Who lost?",
        "answers": {"text": [], "answer_start": []},
    },
]


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, rows: Any) -> Path:
    """JSON lines, gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
