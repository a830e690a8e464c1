"""The gateway as the console knows it: what takes feedback, and the only way to give it."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException

from headrace.connectors.loopback import is_loopback_url

WAIT_S = 70.0
"""It looks for an episode for 60 seconds."""
_ANSWERED = frozenset({400, 404})


class NotTaken(Exception):
    """Feedback that is on no record. `status`: of the page that tells it."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class Gateway:
    """`POST /v1/feedback` of the gateway at `url`.

    key_for: a key of a project; '': none is asked.
    """

    def __init__(self, url: str, key_for: Callable[[str], str]) -> None:
        self._url = url
        self._key_for = key_for
        proxies: dict[str, str] | None = (
            {} if is_loopback_url(url) else None
        )  # None: those of the environment
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))

    def give(self, project: str, feedback: dict[str, object]) -> str:
        """The id of the reward's span, once it is durable.

        Raises:
            NotTaken: it is not, or nobody can tell; sent again under the same id it counts once.
        """
        headers = {"content-type": "application/json", "x-headrace-project": project}
        if key := self._key_for(project):
            headers["authorization"] = f"Bearer {key}"
        asked = urllib.request.Request(
            f"{self._url}/v1/feedback", json.dumps(feedback).encode(), headers, method="POST"
        )
        try:
            with self._opener.open(asked, timeout=WAIT_S) as answer:
                return str(json.load(answer)["id"])
        except urllib.error.HTTPError as error:
            with error:
                raise NotTaken(*_told(error.code, _said(error.read()))) from error
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            why = getattr(error, "reason", error)
            raise NotTaken(503, f"the gateway at {self._url} does not answer: {why}") from error


def _told(code: int, said: str) -> tuple[int, str]:
    if code in _ANSWERED:
        return code, said
    if code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return 503, f"the gateway does not let the console in: {said}. See [gateway] keys"
    return 503, f"the gateway does not take it now ({code}): {said}"


def _said(body: bytes) -> str:
    """What an answer with an error says."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode("utf-8", "replace")
