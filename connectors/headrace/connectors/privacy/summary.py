"""The settings in a sentence, for a person."""

from collections.abc import Mapping

from headrace.connectors.privacy.config import PrivacySettings
from headrace.connectors.privacy.switches import hidden_by

_CAPTURE = {
    "full": "texts and tokens are kept",
    "metadata": "facts are kept, neither texts nor tokens: nothing can be trained",
    "none": "nothing is kept: nothing can be trained",
}


def summary(settings: PrivacySettings, environment: Mapping[str, str]) -> str:
    """What is kept, what is replaced in it, and what a model sees."""
    told = [f"capture {settings.capture}: {_CAPTURE[settings.capture]}"]
    if settings.projects:
        told.append(f"but {', '.join(settings.projects)}")
    if settings.redacts:
        own = [one.partition("=")[0] for one in settings.patterns]
        told.append(f"{', '.join([*settings.redact, *own])} replaced by a {settings.replace_by}")
        told.append(f"models see the {settings.model_sees} request")
    else:
        told.append("nothing is redacted")
    hidden = hidden_by(environment)
    if hidden and settings.honour_switches:
        told.append(f"this environment's switches hide {', '.join(sorted(hidden))}")
    return "; ".join(told)
