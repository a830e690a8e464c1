"""What of an attempt may lie on disk, while it waits to be sent."""

from dataclasses import replace
from pathlib import Path

from headrace.connectors.commands.folder import Ended, Identity
from headrace.connectors.privacy import Hidden, Privacy, PrivacySettings
from headrace.connectors.privacy.switches import to_header
from headrace.connectors.settings import to_environment


def private_identity(identity: Identity, privacy: Privacy) -> Identity:
    """Who an attempt is, without what may not be kept of its task."""
    whole = privacy.capture(identity.project) == "full"
    inputs = whole and Hidden.INPUTS not in privacy.hidden
    outputs = whole and Hidden.OUTPUTS not in privacy.hidden
    return replace(
        identity,
        task_input=privacy.text(identity.task_input) if inputs else "",
        expected=privacy.text(identity.expected) if outputs else "",
        agent=privacy.text(identity.agent),
        subject=None if identity.subject is None else privacy.text(identity.subject),
    )


def private_end(ended: Ended, project: str, privacy: Privacy) -> Ended:
    """How an attempt ended, without what may not be kept of its result."""
    kept = privacy.capture(project) == "full" and Hidden.OUTPUTS not in privacy.hidden
    return replace(ended, result=privacy.text(ended.result) if kept else "")


def settings_for_agents(settings: PrivacySettings) -> dict[str, str]:
    """The settings as variables for an agent's processes; none where they are the defaults."""
    if settings == PrivacySettings():
        return {}
    file = settings.pseudonym_key_file
    found = replace(
        settings, pseudonym_key_file=str(Path(file).expanduser().absolute()) if file else ""
    )
    return {name: value for name, value in to_environment("privacy", found).items() if value}


def hiding(settings: PrivacySettings, hidden: frozenset[Hidden], project: str) -> str:
    """What the gateway is asked to leave out of an attempt's calls; empty: nothing.

    hidden: what the switches of other conventions hide.
    """
    privacy = Privacy(replace(settings, redact=(), patterns=()), hidden)
    more = set() if privacy.capture(project) == "full" else {Hidden.CONTENT}
    return to_header(privacy.hidden | more)
