"""The environment of an agent's processes. Pure."""

import os
from collections.abc import Mapping
from pathlib import Path

from headrace.connectors import instrument
from headrace.connectors.commands.folder import AttemptFolder
from headrace.connectors.commands.private import hiding, settings_for_agents
from headrace.connectors.instrument import names
from headrace.connectors.instrument.frameworks import SWITCHES
from headrace.connectors.loopback import with_exemption
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.privacy.switches import hidden_by

SITE = Path(instrument.__file__).parent / "site"
PLACEHOLDER = "headrace"
"""API key where the user has none and the gateway asks for none: clients insist on one."""
_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


def agent_environment(
    own: Mapping[str, str],
    folder: AttemptFolder,
    gateway: str | None,
    key: str = "",
    privacy: PrivacySettings | None = None,
    *,
    names_agents: bool = False,
) -> dict[str, str]:
    """What the agent's command is given.

    Args:
        own: the environment as it is.
        folder: of the attempt.
        gateway: `http://host:port`; None: model calls go where they would go.
        key: the gateway's API key; empty: it asks for none.
        privacy: what its processes may write to their journals; None: all.
        names_agents: whether model calls name the agent that makes them.
    """
    privacy = privacy or PrivacySettings()
    made = with_exemption(own, *([gateway] if gateway else []))
    for name, value in SWITCHES.items():
        made[name] = (
            _joined(made.get(name, ""), value) if name == _OPT_IN else made.get(name, value)
        )
    identity = folder.identity
    made |= {
        names.JOURNAL: str(folder.path),
        names.ROLLOUT: identity.rollout_id,
        names.ATTEMPT: identity.attempt,
        names.PROJECT: identity.project,
        names.TRACEPARENT: _traceparent(own.get(names.TRACEPARENT, ""), identity.root),
        "PYTHONPATH": _joined_path(own.get("PYTHONPATH", "")),
        **settings_for_agents(privacy),
    }
    if names_agents:
        made[names.NAMES_AGENTS] = "1"
    if gateway is not None:
        made |= redirection(
            own, folder, gateway, key, hiding(privacy, hidden_by(own), identity.project)
        )
    return made


def redirection(
    own: Mapping[str, str], folder: AttemptFolder, gateway: str, key: str, hidden: str = ""
) -> dict[str, str]:
    """What sends the model calls of every client to the gateway, as calls of this attempt.

    hidden: what the gateway is to leave out of them.
    """
    identity = folder.identity
    base = gateway.rstrip("/") + names.attempt_path(
        identity.project, identity.rollout_id, identity.attempt
    )
    headers = {
        "x-headrace-rollout": identity.rollout_id,
        "x-headrace-attempt": identity.attempt,
        **({names.HIDE_HEADER: hidden} if hidden else {}),
    }
    made = {
        names.REDIRECTED: base,
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_BASE": f"{base}/v1",
        "ANTHROPIC_BASE_URL": base,
    }
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        lines = [line for line in own.get(name, "").splitlines() if line.strip()]
        made[name] = "\n".join([*lines, *(f"{key}: {value}" for key, value in headers.items())])
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        made[name] = key or own.get(name) or PLACEHOLDER
    return made


def _joined(known: str, value: str) -> str:
    values = [one.strip() for one in known.split(",") if one.strip()]
    return ",".join(dict.fromkeys([*values, value]))


def _joined_path(known: str) -> str:
    return os.pathsep.join([str(SITE), *([known] if known else [])])


def _traceparent(outer: str, root: str) -> str:
    """The attempt's first span as the parent, in the trace that the user may have begun."""
    parts = outer.split("-")
    trace = parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else os.urandom(16).hex()
    return f"00-{trace}-{root}-01"
