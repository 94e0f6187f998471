"""Vocabulary: keep the tokens that a task uses, and no others.

The idea: a small encoder is half embeddings, a multilingual one nearly whole, and most of their rows stand for words
that a task never sees. Tokens that the training texts hold stay, with everything that is needed to write any other
text; the rest is taken out of tokenizer and model alike. Nothing is trained: texts of kept tokens get the same answers,
bit by bit.

Paper: Abdaoui et al., "Load What You Need: Smaller Versions of Multilingual BERT", arXiv 2010.05609.

Phases: `counting` (of the tokens of the texts).

How we differ, and why: the paper counts tokens of Wikipedia in some languages, we those of the task's training rows and
of texts that one names, because a model that is pressed has a task; it keeps tokens above a frequency, we everything
that occurs unless a number is given, so that nothing that was learned is lost; it writes vocab.txt, we edit
tokenizer.json, so that byte-pair encoding (merges that build a kept token stay) and Unigram work too. Single characters
stay, so no text has more unknown tokens than before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from bertpress.methods.method import Method, Situation, Training

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.tasks.task import Task


class Vocabulary(Method):
    """Keep the tokens that a task or a corpus uses: a smaller vocabulary, the same answers (after arXiv 2010.05609)."""

    name: ClassVar[str] = "vocabulary"
    phases: ClassVar[tuple[str, ...]] = ("counting",)
    takes_reduced: ClassVar[bool] = True
    changes_tokens: ClassVar[bool] = True

    tokens: int | float | None = None
    """how many stay at most, or which share of them, the most frequent first; default all that occur"""
    min_count: int = Field(1, ge=1)
    """occurrences below which a token goes"""
    corpus: tuple[str, ...] = ()
    """files, folders or patterns of further texts whose tokens stay: plain text, a sentence a line"""

    @field_validator("tokens", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if value is None or whole or (isinstance(value, float) and 0 < value <= 1):
            return value
        raise ValueError("expected a number of tokens from 1, or a share of them above 0 and up to 1.0")

    @property
    def needs_labels(self) -> bool:
        return False

    @property
    def needs_head(self) -> bool:
        return False

    def trainings(self) -> dict[str, Training]:
        return {}

    def active_phases(self) -> list[str]:
        return list(self.phases)

    def most(self, size: int) -> int | None:
        """How many tokens of so many stay at most."""
        return int(self.tokens * size) if isinstance(self.tokens, float) else self.tokens

    def plan(self, config: PretrainedConfig) -> PretrainedConfig:
        import copy

        result, most = copy.deepcopy(config), self.most(config.vocab_size)
        result.vocab_size = config.vocab_size if most is None else min(most, config.vocab_size)
        return result

    def check(self, situation: Situation) -> None:
        from bertpress.methods.vocabulary.steps import check_request

        check_request(self, situation)

    def layer_passes(self, config: PretrainedConfig, phase: str, steps: int) -> float:
        return 0.0

    def warnings(self, config: PretrainedConfig, steps: dict[str, int]) -> list[str]:
        return [
            f"at most {self.plan(config).vocab_size:,} tokens stay; how many occur is known when the texts are read"
        ]

    def compress(self, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
        from bertpress.methods.vocabulary.steps import compressed

        return compressed(self, model, task, run)

    def reread(self, task: Task, run: StepRun) -> tuple[Task, list[str]]:
        from bertpress.methods.vocabulary.steps import reread

        return reread(task, run)
