"""The thread of `headrace run` that turns an attempt's journals into spans while its agent runs.

It imports the SDK itself, beside the agent and not before it.
"""

import http.client
import logging
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.connectors.commands.folder import AttemptFolder, Ended
from headrace.connectors.commands.records import Note, survey
from headrace.infra.settings import Settings

if TYPE_CHECKING:
    from headrace.connectors.commands.session import Session
    from headrace.connectors.sdk import Telemetry

logger = logging.getLogger(__name__)

_EVERY_S = 0.2
_ASK_S = 1.0
_END_S = 5.0
_LEFT_BEHIND_S = 5.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Told:
    """What became of an attempt's spans."""

    spans: int = 0
    notes: frozenset[Note] = frozenset()
    durable: str = "kept"
    """`delivered`, `spooled`, or `kept`: on disk, for the next start."""
    no_headrace: bool = False
    """Whether the agent's Python had no headrace to import."""
    left_behind: int = 0
    """Attempts of killed runs that were sent, too."""


class Watcher(threading.Thread):
    """Watches one attempt. Whatever fails, its folder stays for the next start."""

    def __init__(self, folder: AttemptFolder, settings: Settings) -> None:
        super().__init__(name="headrace-watcher", daemon=True)
        self._folder = folder
        self._settings = settings
        self._over = threading.Event()
        self._ended: Ended | None = None
        self._exits: Mapping[int, str] = {}
        self._told = Told()

    def finish(self, ended: Ended, exits: Mapping[int, str]) -> Told:
        """The agent has ended: send what is left, and say what became of it."""
        try:
            self._folder.end(ended)
        except OSError as error:
            logger.warning("the end of the attempt cannot be written down: %s", error)
        self._ended, self._exits = ended, exits
        self._over.set()
        self.join(_END_S + _LEFT_BEHIND_S + _ASK_S)
        return self._told

    def run(self) -> None:
        """Watch until the agent has ended."""
        try:
            self._watch()
        except Exception:
            logger.exception("the spans of this attempt wait in %s", self._folder.path)

    def _watch(self) -> None:
        while not broker_answers(self._settings.bootstrap):
            if self._over.wait(_ASK_S):
                spans, notes = survey(self._folder.journals())
                lacks = self._folder.has_no_headrace
                self._told = Told(spans=spans, notes=notes, no_headrace=lacks)
                return
        from headrace.connectors.commands.session import Session, send_left_behind
        from headrace.connectors.sdk import Telemetry, sdk_config

        settings = self._settings
        config = sdk_config(
            settings.kafka_access,
            settings.registry_access,
            settings.privacy,
            spool_directory=settings.directory / "spool" / "run",
        )
        telemetry = Telemetry(config)
        self._follow(Session(self._folder, telemetry), telemetry)
        if self._told.durable == "delivered":
            sent = send_left_behind(self._folder.path.parent, telemetry, _LEFT_BEHIND_S)
            self._told = replace(self._told, left_behind=sent)
        telemetry.close(_END_S if self._told.durable == "delivered" else 0.0)

    def _follow(self, session: "Session", telemetry: "Telemetry") -> None:
        while not self._over.wait(_EVERY_S):
            session.collect()
        assert self._ended is not None
        no_headrace = self._folder.has_no_headrace
        told = session.finish(self._ended, self._exits, _END_S)
        self._told = Told(
            spans=told.spans, notes=told.notes, durable=told.durable, no_headrace=no_headrace
        )


def broker_answers(bootstrap: str) -> bool:
    """Whether one of the brokers takes a connection."""
    for broker in bootstrap.split(","):
        host, _, port = broker.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ASK_S).close()
        except (OSError, ValueError):
            continue
        return True
    return False


def gateway_answers(url: str) -> bool:
    """Whether a gateway of ours answers at a URL, ready or not."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_ASK_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/healthz")
        return b'"status"' in connection.getresponse().read(10_000)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
