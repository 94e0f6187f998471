"""The two errors whose exit code means something; every other exception is a failure of ours (exit code 1)."""


class RequestError(Exception):
    """The request was wrong: a flag, a file, a column, a label, a model (exit code 2)."""


class AnswerNo(Exception):
    """Everything ran and the answer is no: too slow, not good enough, a budget not met (exit code 3)."""
