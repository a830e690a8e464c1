"""Errors of feedback.

FeedbackError
├── BadFeedback            what was given can be no reward
└── NobodyKnows            no episode, or no call, of that id is on record (yet)
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
