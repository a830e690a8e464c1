"""Agents in processes of their own, as `headrace run` starts them, and what comes of them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headrace.connectors.commands.environment import agent_environment
from headrace.connectors.commands.folder import AttemptFolder, Ended, Identity, make_folder
from headrace.connectors.commands.results import how_ended
from headrace.connectors.commands.session import Session, Told
from headrace.connectors.sdk import Durability, SdkConfig, Telemetry
from headrace.schemas import Span, new_span_id, new_ulid
from tests.connectors.sdk.memory import Broker, MemoryTransport
from tests.support.waiting import wait_until

ROOT = "00000000000000aa"


class Listening(Telemetry):
    """Telemetry that remembers what it was given."""

    def __init__(self, config: SdkConfig, broker: Broker) -> None:
        self.spans: list[Span] = []
        super().__init__(config, lambda: MemoryTransport(broker))

    def emit(self, span: Span) -> None:
        self.spans.append(span)
        super().emit(span)

    def emit_durably(self, span: Span, timeout: float = 30.0) -> Durability:
        self.spans.append(span)
        return super().emit_durably(span, timeout)


@dataclass(slots=True)
class Seen:
    """What came of an agent."""

    code: int
    spans: list[Span]
    told: Told
    output: str

    def named(self, name: str) -> Span:
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{name}: {len(found)} of {[span.name for span in self.spans]}"
        return found[0]

    @property
    def names(self) -> list[str]:
        """Names of the agent's own spans, sorted."""
        return sorted(s.name for s in self.spans if s.kind not in ("attempt.start", "attempt.end"))


@dataclass(slots=True)
class Workplace:
    """Runs agents, each as one attempt."""

    directory: Path
    broker: Broker = field(default_factory=Broker)

    def folder(self) -> AttemptFolder:
        identity = Identity(
            project="default",
            rollout_id=new_ulid(),
            attempt=new_ulid(),
            root=ROOT,
            end_id=new_span_id(),
            started_at=time.time_ns(),
            agent="mail",
        )
        return make_folder(self.directory / "attempts", identity)

    def telemetry(self) -> Listening:
        config = SdkConfig(
            bootstrap="memory",
            registry_url="memory",
            spool_directory=self.directory / "spool",
            seal_ms=5,
            broker_patience_ms=50,
            close_timeout_s=0.05,
        )
        return Listening(config, self.broker)

    def run(
        self,
        agent: str,
        *arguments: str,
        when: str = "",
        then: Callable[[subprocess.Popen[str]], None] | None = None,
        gateway: str | None = None,
        **environment: str,
    ) -> Seen:
        """Run an agent's text to its end; `then` is called once it has printed `when`.

        gateway: where its model calls go; None: where they would go.
        """
        script = self.directory / f"agent{len(list(self.directory.glob('agent*.py')))}.py"
        script.write_text(textwrap.dedent(agent), encoding="utf-8")
        folder = self.folder()
        telemetry = self.telemetry()
        session = Session(folder, telemetry)
        made = agent_environment({**os.environ, **environment}, folder, gateway)
        with subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env=made,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[folder.lock],
        ) as process:
            assert process.stdout is not None
            output = ""
            if then is not None:
                while when not in output:
                    line = process.stdout.readline()
                    assert line, output
                    output += line
                session.collect()
                then(process)
            output += process.stdout.read()
            code = process.wait(60)
        ended = Ended(
            status="error" if code else "ok",
            result="",
            at=time.time_ns(),
            how=how_ended(code) if code else "",
        )
        told = session.finish(ended, {process.pid: how_ended(code)}, 10)
        telemetry.close()
        return Seen(code, telemetry.spans, told, output)


def send(number: signal.Signals) -> Callable[[subprocess.Popen[str]], None]:
    """A signal for the agent."""
    return lambda process: process.send_signal(number)


def wait_for_file(path: Path) -> None:
    """Until another process has made it."""
    wait_until(path.exists, str(path))
