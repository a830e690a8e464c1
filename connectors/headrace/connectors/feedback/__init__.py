"""Feedback: a reward that somebody gives an episode of long ago, found by what they have of it."""

from headrace.connectors.feedback.errors import BadFeedback, FeedbackError, NobodyKnows, NotYet
from headrace.connectors.feedback.find import Search, Unread, search_episode, search_response
from headrace.connectors.feedback.places import Answered, Place, Places, place_of_episode
from headrace.connectors.feedback.span import SOURCE, Feedback

__all__ = [
    "SOURCE",
    "Answered",
    "BadFeedback",
    "Feedback",
    "FeedbackError",
    "NobodyKnows",
    "NotYet",
    "Place",
    "Places",
    "Search",
    "Unread",
    "place_of_episode",
    "search_episode",
    "search_response",
]
