"""The gateway's numbers, for Prometheus."""

import time
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.connectors.gateway.calls import AnsweredCall
from headrace.connectors.gateway.policy.policies import Policies

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_MEASURED = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")


class Metrics:
    """Counters of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "headrace_gateway_requests",
            "Requests of completions by HTTP status.",
            ["status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "headrace_gateway_request_seconds",
            "Time from a request to the end of its answer.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._calls = Counter(
            "headrace_gateway_calls",
            "Calls by policy and, if not trainable, the reason.",
            ["policy", "untrainable_reason"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "headrace_gateway_tokens",
            "Tokens of answered calls.",
            ["policy", "kind"],
            registry=self._registry,
        )
        self._prompts = Counter(
            "headrace_gateway_prompts",
            "Prompts by how their tokens were made: new, extended (they begin with those of an "
            "earlier prompt and its answer), rewritten, cut.",
            ["policy", "how"],
            registry=self._registry,
        )
        self._durable = Counter(
            "headrace_gateway_durable_calls",
            "Calls by what had them before their answer went out: delivered (Kafka) or spooled.",
            ["where"],
            registry=self._registry,
        )
        self._undurable = Counter(
            "headrace_gateway_undurable_calls",
            "Calls that neither Kafka nor the spool took; their clients got 503.",
            registry=self._registry,
        )
        self._conversations = Counter(
            "headrace_gateway_conversations",
            "Calls that say of no episode, by how they found one: new, extended (they go on with a "
            "conversation), idle (with one that is over), ambiguous (with several).",
            ["how"],
            registry=self._registry,
        )
        self._limited = Counter(
            "headrace_gateway_limited_requests",
            "Requests that were refused because their key (of a project, if it has one) had used "
            "up its requests or tokens of the minute.",
            ["limit", "project"],
            registry=self._registry,
        )
        self._failed = Counter(
            "headrace_gateway_failed_calls",
            "Calls that got no whole answer, by why: client_gone, request_timeout, …",
            ["fault"],
            registry=self._registry,
        )
        self._upstream_faults = Counter(
            "headrace_gateway_upstream_faults",
            "Calls that the upstream failed or did not answer whole, by what went wrong.",
            ["fault"],
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "headrace_gateway_in_flight", "Requests being answered.", registry=self._registry
        )

    def watch(self, collector: Collector) -> None:
        """Add numbers that are read when somebody asks for them."""
        self._registry.register(collector)

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def completed(self, answered: AnsweredCall) -> None:
        """Count a call that a backend answered."""
        policy = answered.call.policy
        self._calls.labels(policy, answered.call.untrainable_reason).inc()
        if how := answered.attributes.get("headrace.prompt"):
            self._prompts.labels(policy, how).inc()
        self._tokens.labels(policy, "prompt").inc(answered.prompt_tokens)
        self._tokens.labels(policy, "sampled").inc(answered.completion_tokens)

    def failed(self, reason: str, fault: str) -> None:
        """Count a call that its backend did not answer whole; fault: a code of errors.py."""
        self._calls.labels("", reason).inc()
        self._failed.labels(fault).inc()

    def durable(self, where: str, calls: int) -> None:
        """Count calls that were made durable, and where."""
        self._durable.labels(where).inc(calls)

    def undurable(self, calls: int) -> None:
        """Count calls that could not be made durable."""
        self._undurable.inc(calls)

    def conversation(self, how: str) -> None:
        """Count a call without a place by how its conversation was found."""
        self._conversations.labels(how).inc()

    def limited(self, limit: str, project: str) -> None:
        """Count a request that was refused for a limit of its key: requests or tokens."""
        self._limited.labels(limit, project).inc()

    def upstream_fault(self, fault: str) -> None:
        """Count a call that the upstream failed; a status, or a code of errors.py."""
        self._upstream_faults.labels(fault).inc()

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)


_ENGINE_GAUGES = {
    "running": "Requests being decoded.",
    "waiting": "Requests waiting for a place.",
}
_ENGINE_COUNTERS = {
    "tokens": "Sampled tokens.",
    "prompt_tokens": "Prompt tokens.",
    "shared_prompt_tokens": "Prompt tokens that did not have to be computed.",
    "failures": "Failed requests.",
    "swaps": "Changes of the version.",
}


class ServingCollector(Collector):
    """The engines' and the policies' numbers of the moment, each with its policy's name."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def collect(self) -> Iterator[Metric]:
        stats = {one.name: one.engine.stats() for one in self._policies}
        for name, text in _ENGINE_GAUGES.items():
            values = {policy: getattr(each, name) for policy, each in stats.items()}
            yield _gauge(f"headrace_engine_{name}", text, values)
        for name, text in _ENGINE_COUNTERS.items():
            values = {policy: getattr(each, f"{name}_total") for policy, each in stats.items()}
            yield _counter(f"headrace_engine_{name}", text, values)
        yield _counter(
            "headrace_gateway_policy_load_failures",
            "Weights that could not be loaded.",
            {one.name: one.load_failures for one in self._policies},
        )
        yield _gauge(
            "headrace_policy_version",
            "Version that is served; -1: none.",
            {one.name: -1 if one.served is None else one.served for one in self._policies},
        )


class Measured:
    """ASGI middleware: counts chat completion requests, their statuses and their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith(_MEASURED):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            self._metrics.request(status, time.perf_counter() - started)


def _gauge(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["policy"])
    for policy, value in values.items():
        family.add_metric([policy], value)
    return family


def _counter(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["policy"])
    for policy, value in values.items():
        family.add_metric([policy], value)
    return family
