"""A vLLM server over HTTP: what it must be, what it is told, what it answers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from headrace.connectors.engines.errors import EngineUnavailable
from headrace.connectors.engines.vllm.request import PATH
from headrace.connectors.engines.vllm.stream import failure_of, message_of
from headrace.connectors.loopback import is_loopback_url

HOW = "start it with `python -m headrace.connectors.engines.vllm.serve` (docs/gateway.md)"
_CONTROL_S = 600.0
"""Longest wait for a change of weights: a large model is read from a disk."""


class Refused(Exception):
    """The server answered a command with an error; what it says is the message."""


@dataclass(kw_only=True, slots=True, frozen=True)
class ServedModel:
    """What a server serves."""

    name: str
    longest: int
    """Most tokens of a prompt and its completion."""
    label: str
    """What it calls its weights; `default` until somebody named them."""


class VllmServer:
    """A client of one vLLM server. Belongs to the event loop that makes it."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url = url.rstrip("/")
        self._client = httpx2.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            # A request may wait long for its first token, behind others or a change of weights.
            timeout=httpx2.Timeout(10.0, read=None),
            # vLLM closes the connection of a command that failed, and idle ones after seconds: a
            # connection that is used again may be gone.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=not is_loopback_url(url),
        )

    async def answers(self) -> bool:
        """Whether it is up."""
        try:
            return (await self._client.get("/health", timeout=5.0)).status_code == 200
        except httpx2.HTTPError:
            return False

    async def served(self) -> ServedModel:
        """What it serves.

        Raises:
            EngineUnavailable: it does not answer, or was not started as it must be.
        """
        models = await self._get("/v1/models")
        try:
            model = models["data"][0]
            name, longest = str(model["id"]), int(model["max_model_len"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EngineUnavailable(f"{self.url} is no vLLM server: {models!r:.200}") from error
        label = str((await self._get("/weight_info")).get("weight_version"))
        return ServedModel(name=name, longest=longest, label=label)

    async def check(self, model: str) -> None:
        """One token sampled, to see that log-probabilities are those of the sampled distribution.

        Raises:
            EngineUnavailable: they are not, or the versions of tokens are missing.
        """
        # Top-k leaves one token: it has all of the probability, unless logprobs are raw.
        parameters = {"temperature": 1.0, "top_k": 1, "max_tokens": 1, "logprobs": 0}
        body = {
            "token_ids": [1],
            "sampling_params": parameters,
            "model": model,
            "output_mode": "tokens",
        }
        try:
            response = await self._client.post(PATH, json=body, timeout=_CONTROL_S)
        except httpx2.HTTPError as error:
            raise self._away(error) from error
        if response.status_code != 200:
            raise EngineUnavailable(
                f"vLLM at {self.url} does not take tokens ({response.status_code}: "
                f"{message_of(response.text)}): {HOW}"
            )
        try:
            choice = response.json()["choices"][0]
            fact = choice["logprobs"]["content"][0]
            missing = _missing(choice, fact)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EngineUnavailable(
                f"vLLM at {self.url} answers otherwise than version 0.32: {response.text[:300]}"
            ) from error
        if missing:
            raise EngineUnavailable(f"vLLM at {self.url} runs without {missing}: {HOW}")

    @asynccontextmanager
    async def completion(self, body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[str]]:
        """Lines of a streamed completion; leaving the block early makes the server drop it.

        Raises:
            InvalidRequest, GenerationFailed: the server refuses it, or failed.
            EngineUnavailable: it does not answer, or no longer.
        """
        try:
            async with self._client.stream("POST", PATH, json=dict(body)) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise failure_of(response.status_code, response.text)
                yield response.aiter_lines()
        except httpx2.HTTPError as error:
            raise self._away(error) from error

    async def tell(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Give a command.

        Raises:
            Refused: the server says no; nothing is known of what it did.
            EngineUnavailable: it does not answer.
        """
        try:
            response = await self._client.post(path, json=dict(body or {}), timeout=_CONTROL_S)
        except httpx2.HTTPError as error:
            raise self._away(error) from error
        if response.status_code == 404:
            raise EngineUnavailable(f"vLLM at {self.url} has no {path}: {HOW}")
        if response.status_code != 200:
            raise Refused(message_of(response.text))
        answer = response.json()
        return answer if isinstance(answer, dict) else {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _get(self, path: str) -> dict[str, Any]:
        try:
            response = await self._client.get(path, timeout=60.0)
        except httpx2.HTTPError as error:
            raise self._away(error) from error
        if response.status_code != 200:
            raise EngineUnavailable(
                f"vLLM at {self.url} answers {path} with {response.status_code}: {HOW}"
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise EngineUnavailable(f"{self.url}{path} is not vLLM's: {response.text[:200]!r}")
        return answer

    def _away(self, error: Exception) -> EngineUnavailable:
        said = str(error) or type(error).__name__
        return EngineUnavailable(f"vLLM at {self.url} does not answer: {said}")


def _missing(choice: Mapping[str, Any], fact: Mapping[str, Any]) -> str:
    if not choice.get("weight_versions"):
        return "the version of each token (vLLM 0.32 or newer)"
    if abs(float(fact["logprob"])) > 1e-6:
        return "--logprobs-mode processed_logprobs"
    return ""
