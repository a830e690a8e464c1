"""What a producer asks before a span leaves it."""

from headrace.connectors.privacy.config import Capture, PrivacySettings
from headrace.connectors.privacy.redactor import Redactor
from headrace.connectors.privacy.switches import Hidden


class Privacy:
    """The settings at work. Safe to share between threads.

    Raises OSError: the key's file cannot be read.
    """

    def __init__(self, settings: PrivacySettings, hidden: frozenset[Hidden] = frozenset()) -> None:
        """hidden: what the switches of other conventions hide."""
        self.settings = settings
        self.hidden = hidden if settings.honour_switches else frozenset()
        self.redactor: Redactor | None = None
        if settings.redacts:
            key = settings.secret if settings.replace_by == "pseudonym" else ""
            self.redactor = Redactor(settings.redact, settings.patterns, key)

    def capture(self, project: str) -> Capture:
        """The mode of a project's spans."""
        mode = self.settings.capture_of(project)
        return "metadata" if mode == "full" and Hidden.CONTENT in self.hidden else mode

    def text(self, text: str) -> str:
        """A text redacted."""
        return text if self.redactor is None else self.redactor.text(text)

    def holds(self, text: str) -> bool:
        """Whether there is something to redact in a text."""
        return self.redactor is not None and self.redactor.holds(text)
