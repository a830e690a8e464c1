"""Measures what the gateway adds to an engine, and how many calls one core of it answers.

`python -m benchmarks.gateway.run` from the repository's root puts a gateway over the engine that
has no model and asks it for chat completions, whole and streamed: one at a time (how late is an
answer?) and many at once (how many does it take?); with spans thrown away, and with spans that a
broker has acknowledged before the answer goes out, as in `headrace up`. Client, gateway and broker
share the machine. `--litellm PYTHON`, an interpreter that has `litellm[proxy]`, measures LiteLLM's
proxy in the same run, over a bare server that answers at once, and that server alone. Writes JSON
and a table to `benchmarks/results/`. Nothing is asserted of times.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from time import perf_counter, sleep

import psutil
from benchmarks.gateway.client import Times, ask_for, request_bytes
from benchmarks.gateway.server import POLICY
from benchmarks.machine import machine

from headrace.connectors.engines import GenerationRequest, SamplingParameters
from headrace.connectors.engines.null import NullEngine, NullEngineConfig
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.parts import build_parts
from headrace.infra.settings import DataSettings, KafkaSettings, RegistrySettings, Settings
from headrace.infra.supervise import Supervisor

RESULTS = Path(__file__).parents[1] / "results"
_TICK_S = 0.01  # of the kernel's CPU times: a run that is too short to count one had one at most
PROMPT = "What is 33 times 4, and why? Answer with one calculator call. " * 8


@dataclass(kw_only=True, slots=True, frozen=True)
class Outcome:
    """One phase. Milliseconds; the engine's own time is not taken off."""

    spans: str
    """What becomes of spans, or what is measured beside the gateway."""
    stream: bool
    connections: int
    requests: int
    seconds: float
    first_p50_ms: float
    first_p99_ms: float
    whole_p50_ms: float
    whole_p99_ms: float
    gateway_cores: float
    """CPU seconds of the gateway a second."""
    requests_per_core_s: float
    """Requests for each CPU second of the gateway."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all phases; gives the exit code."""
    options = _options(argv)
    about = _about(options, asyncio.run(_engine_alone(options.tokens)))
    print(f"the engine alone: p50 {about['engine_p50_ms']:.3f} ms for {options.tokens} tokens")
    outcomes: list[Outcome] = []
    for spans in options.spans:
        with ExitStack() as stack:
            broker = stack.enter_context(_broker()) if spans == "durable" else []
            process, port = stack.enter_context(_gateway(options.tokens, broker))
            for stream, connections in itertools.product((False, True), options.connections):
                measured = _phase(options, process, port, spans, stream, connections)
                print(_line(measured), flush=True)
                outcomes.append(measured)
    for beside in ("bare server", "LiteLLM") if options.litellm else ():
        with _beside(options, beside) as (process, port):
            for stream, connections in itertools.product((False, True), options.connections):
                measured = _phase(options, process, port, beside, stream, connections)
                print(_line(measured), flush=True)
                outcomes.append(measured)
    if not options.dry:
        _write(options.name, about, outcomes)
    return 0


def _phase(
    options: argparse.Namespace,
    process: psutil.Process,
    port: int,
    spans: str,
    stream: bool,
    connections: int,
) -> Outcome:
    request = request_bytes(
        model=POLICY, prompt=PROMPT, max_tokens=options.tokens + 1, stream=stream
    )
    asyncio.run(ask_for(min(2.0, options.seconds), port, request, connections))  # warm
    cpu, start = sum(process.cpu_times()[:2]), perf_counter()
    times: Times = asyncio.run(ask_for(options.seconds, port, request, connections))
    seconds = perf_counter() - start
    cpu = max(_TICK_S, sum(process.cpu_times()[:2]) - cpu)
    first, whole = sorted(times.first), sorted(times.whole)
    return Outcome(
        spans=spans,
        stream=stream,
        connections=connections,
        requests=len(whole),
        seconds=seconds,
        first_p50_ms=_quantile(first, 0.5),
        first_p99_ms=_quantile(first, 0.99),
        whole_p50_ms=_quantile(whole, 0.5),
        whole_p99_ms=_quantile(whole, 0.99),
        gateway_cores=cpu / seconds,
        requests_per_core_s=len(whole) / cpu,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def _engine_alone(tokens: int) -> float:
    """p50 in milliseconds of what the engine itself takes, increments included."""
    engine = NullEngine(NullEngineConfig(tokens=tokens))
    prompt = engine.encode(engine.render([{"role": "user", "content": PROMPT}]))
    wanted = GenerationRequest(
        prompt_ids=prompt, sampling=SamplingParameters(max_tokens=tokens + 1)
    )
    times = []
    for _ in range(500):
        start = perf_counter()
        await engine.generate(wanted, lambda _: None)
        times.append(perf_counter() - start)
    return _quantile(sorted(times), 0.5)


@contextmanager
def _gateway(tokens: int, broker: Sequence[str]) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway.server", "--port", str(port)]
    environment = {"PYTHONPATH": str(RESULTS.parents[1])}
    with _process([*command, "--tokens", str(tokens), *broker], environment) as process:
        _wait_for_answer(process, port)
        yield psutil.Process(process.pid), port


@contextmanager
def _beside(options: argparse.Namespace, what: str) -> Iterator[tuple[psutil.Process, int]]:
    """The bare server, or LiteLLM's proxy over it."""
    bare, front = free_port(), free_port()
    root = RESULTS.parents[1]
    command = [sys.executable, "-m", "benchmarks.gateway.upstream", "--port", str(bare)]
    with ExitStack() as stack:
        server = stack.enter_context(
            _process([*command, "--tokens", str(options.tokens)], {"PYTHONPATH": str(root)})
        )
        _wait_for_answer(server, bare)
        if what != "LiteLLM":
            yield psutil.Process(server.pid), bare
            return
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        parameters = {
            "model": f"openai/{POLICY}", "api_base": f"http://127.0.0.1:{bare}/v1", "api_key": "x",
        }  # fmt: skip
        config = directory / "config.yaml"  # JSON is YAML
        models = [{"model_name": POLICY, "litellm_params": parameters}]
        config.write_text(json.dumps({"model_list": models}))
        proxy = stack.enter_context(
            _process(
                [str(Path(options.litellm).parent / "litellm"), "--config", str(config),
                 "--host", "127.0.0.1", "--port", str(front), "--telemetry", "False"],
                {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
            )
        )  # fmt: skip
        _wait_for_answer(proxy, front)
        yield psutil.Process(proxy.pid), front


@contextmanager
def _process(command: Sequence[str], more: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, env={**os.environ, **more}, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_answer(process: "subprocess.Popen[bytes]", port: int) -> None:
    request = request_bytes(model=POLICY, prompt="ready?", max_tokens=2, stream=False)
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with {process.returncode}")
        try:
            asyncio.run(ask_for(0.01, port, request, 1))
        except* (OSError, RuntimeError):
            sleep(0.1)
        else:
            return
    raise RuntimeError("the gateway did not answer in a minute")


@contextmanager
def _broker() -> Iterator[Sequence[str]]:
    """Broker and registry, as `headrace up` starts them; the server's options for them."""
    with tempfile.TemporaryDirectory(prefix="headrace-gateway-") as scratch:
        settings = Settings(
            data=DataSettings(directory=scratch),
            kafka=KafkaSettings(port=free_port(), controller_port=free_port()),
            registry=RegistrySettings(port=free_port()),
        )
        wanted = ("kafka", "registry")
        parts = [part for part in build_parts(settings, trainer=False) if part.name in wanted]
        with Supervisor(parts, lambda *_: None, run_dir=settings.directory):
            yield (
                "--bootstrap",
                f"127.0.0.1:{settings.kafka.port}",
                "--registry",
                settings.registry_url,
            )


def _about(options: argparse.Namespace, engine_ms: float) -> dict[str, object]:
    return {
        **machine(),
        "date": date.today().isoformat(),
        "tokens": options.tokens,
        "prompt_characters": len(PROMPT),
        "engine_p50_ms": engine_ms,
    }


def _line(one: Outcome) -> str:
    kind = "streamed" if one.stream else "whole"
    return (
        f"| {one.spans} | {kind} | {one.connections} | {one.requests / one.seconds:,.0f} "
        f"| {one.first_p50_ms:.2f} | {one.first_p99_ms:.2f} "
        f"| {one.whole_p50_ms:.2f} | {one.whole_p99_ms:.2f} "
        f"| {one.gateway_cores:.2f} | {one.requests_per_core_s:,.0f} |"
    )


def _write(name: str, about: dict[str, object], outcomes: Sequence[Outcome]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gateway-{name}"
    document = {"about": about, "phases": [asdict(one) for one in outcomes]}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    lines = [
        "# The gateway over an engine without a model",
        "",
        *(f"- {key.replace('_', ' ')}: {value}" for key, value in about.items()),
        "",
        "Milliseconds, the engine's own time included; client, gateway and broker share the cores.",
        "",
        "| spans | answers | connections | requests/s | first p50 | first p99 | whole p50 "
        "| whole p99 | gateway's cores | requests a core second |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_line(one) for one in outcomes),
    ]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print(f"wrote {path}.json and .md")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.gateway.run", description=__doc__)
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each answer")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each phase")
    parser.add_argument(
        "--spans", nargs="+", choices=("dropped", "durable"), default=["dropped", "durable"]
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--name", default=f"{platform.machine()}-{psutil.cpu_count()}-cores")
    parser.add_argument("--litellm", default="", help="an interpreter that has litellm[proxy]")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
