"""Settings of choosing among candidates: what stands in an input."""

from __future__ import annotations

from pydantic import Field

from bertpress.config import Config


class CandidateSettings(Config):
    """How a query, its candidates and its documents are read."""

    query_length: int = Field(default=55, ge=1)
    """tokens of a query; longer ones are cut there"""
    most_candidates: int = Field(default=79, ge=2)
    """candidates of a record; one with more is refused"""
    segments: int = Field(default=1, ge=1)
    """inputs of a record at most, each with the query and all candidates before further documents; a candidate's score
    is the mean over them"""
    candidate_marker: str = "[unused1]"
    """token before each candidate, at which its score is read; the separator stands in where the vocabulary does not
    have it"""
    document_marker: str = "[unused2]"
    """token before each document, likewise"""
