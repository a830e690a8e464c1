"""Who may send: with keys set their bearers, else whoever is on this machine and no web page."""

from collections.abc import Collection, Mapping

from starlette.requests import Request

from headrace.connectors.http_server import Keys, given_key
from headrace.connectors.loopback import refusal
from headrace.connectors.otlp.errors import NoKey, NotAllowed


class Access:
    """Checks requests."""

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = Keys(keys)

    def check(self, request: Request) -> None:
        """Raise NoKey or NotAllowed for a request that may not be."""
        if not self._keys:
            reason = refusal(request.method, request.scope["headers"])
            if reason is not None:
                raise NotAllowed(
                    f"{reason}: without keys the receiver answers this machine alone. Send to "
                    "localhost, or set HEADRACE_OTLP_KEYS"
                )
            return
        self.check_key(request.headers)

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Raise NoKey if keys are set and the headers (names in lower case) have none of them."""
        if not self._keys.allow(given_key(headers)):
            raise NoKey(
                "a valid key is needed: OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20KEY"
            )
