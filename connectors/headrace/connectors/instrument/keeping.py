"""What an agent's process may write to its journal. Stdlib only, until it is told to keep less."""

import os
import sys
from collections.abc import Callable
from typing import Any

from headrace.connectors.instrument import names

Keep = Callable[[dict[str, Any]], dict[str, Any] | None]
SETTINGS = "HEADRACE_PRIVACY_"
SWITCHES = ("OPENINFERENCE_HIDE_", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
"""Beginnings of the variables that may hide something."""


def keeper(describe: Callable[[Any], Any]) -> Keep | None:
    """What is asked before a record is written; None: all is written as it is.

    describe: what JSON cannot hold, as something that it can.
    """
    said = {name: value for name, value in os.environ.items() if name.startswith(SWITCHES)}
    ours = any(name.startswith(SETTINGS) for name in os.environ)
    if not ours and not set(said.values()) - {"SPAN_ONLY"}:
        return None
    try:
        from headrace.connectors.privacy import Privacy, PrivacySettings
        from headrace.connectors.privacy.records import RecordPrivacy
        from headrace.connectors.privacy.switches import hidden_by
        from headrace.connectors.settings import from_environment

        settings = from_environment(PrivacySettings, "privacy", os.environ)
        privacy = Privacy(settings, hidden_by(os.environ))
        return RecordPrivacy(privacy, os.environ.get(names.PROJECT, "default"), describe).kept
    except Exception as error:  # the agent never fails because of telemetry
        # What cannot be read may ask for less than is known here: so nothing is written.
        sys.stderr.write(
            f"headrace: no spans are written, [privacy]: these settings cannot be kept: {error!r}\n"
        )
        return lambda _record: None
