"""What a process logs, redacted too: an error's text may quote what an agent said."""

import logging

from headrace.connectors.privacy.privacy import Privacy

_FORMAT = logging.Formatter()


class RedactingFilter(logging.Filter):
    """Redacts a record's message and traceback, for a handler."""

    def __init__(self, privacy: Privacy) -> None:
        super().__init__()
        self._privacy = privacy

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: the record goes on, redacted."""
        message = record.getMessage()
        if (made := self._privacy.text(message)) is not message:
            record.msg, record.args = made, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = _FORMAT.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._privacy.text(record.exc_text)
        return True


def redact_logs(privacy: Privacy) -> None:
    """Redact what this process's handlers write from now on."""
    if privacy.redactor is None:
        return
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter(privacy))
