"""Errors of feedback.

FeedbackError
├── BadFeedback            what was given can be no reward
├── NobodyKnows            no episode, or no call, of that id is on record
└── NotYet                 whether one is cannot be told yet: the assembler is behind the log
"""


class FeedbackError(Exception):
    """Root of the errors of feedback."""


class BadFeedback(FeedbackError, ValueError):
    """What was given can be no reward; the message names the field. `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class NobodyKnows(FeedbackError):
    """No episode, or no call, of that id is on record."""


class NotYet(FeedbackError):
    """The tables lack so much of the log that nobody can tell whether an id is known."""
