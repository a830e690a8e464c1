"""Model calls name the span that they are made in: whatever client, thread or way to call it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from headrace.connectors.commands.environment import agent_environment
from headrace.connectors.instrument.names import NAMES_AGENTS
from tests.connectors.instrument.watched import ROOT, Workplace

AGENT = """
    from openai import OpenAI
    from anthropic import Anthropic
    from opentelemetry import trace

    openai, anthropic = OpenAI(max_retries=0), Anthropic(max_retries=0)
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    openai.chat.completions.create(**chat)
    with trace.get_tracer("mine").start_as_current_span("step"):
        openai.chat.completions.with_raw_response.create(**chat)
        anthropic.messages.create(max_tokens=9, **chat)
    elsewhere = OpenAI(base_url=openai.base_url.copy_with(path="/v1"))
    elsewhere.chat.completions.create(**chat)
"""


class Gateway(BaseHTTPRequestHandler):
    """Answers as either API, and notes under which span it was called."""

    parents: ClassVar[list[str | None]] = []
    agents: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.parents.append(self.headers["x-headrace-parent"])
        self.agents.append(self.headers["x-headrace-agent"])
        body = json.dumps({"id": "x", "object": "y", "choices": [], "content": []}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def gateway() -> Iterator[str]:
    Gateway.parents.clear()
    Gateway.agents.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_calls_name_the_span_they_are_made_in(workplace: Workplace, gateway: str) -> None:
    seen = workplace.run(AGENT, gateway=gateway)
    assert seen.code == 0, seen.output
    step = seen.named("step").span_id
    # The anthropic client has a span of its own for a call.
    own = {span.span_id: span.parent_id for span in seen.spans if "messages.create" in span.name}
    assert [own.get(parent or "", parent) for parent in Gateway.parents] == [ROOT, step, step, None]


TEAM = """
    from openai import OpenAI
    from opentelemetry import trace

    client, tracer = OpenAI(max_retries=0), trace.get_tracer("mine")
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    client.chat.completions.create(**chat)
    with tracer.start_as_current_span("run", attributes={"gen_ai.agent.name": "writer"}):
        with tracer.start_as_current_span("step"):
            client.chat.completions.create(**chat)
        named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "checker"}
        with tracer.start_as_current_span("invoke_agent checker", attributes=named):
            client.chat.completions.create(**chat)
            client.chat.completions.create(extra_headers={"x-headrace-agent": "own"}, **chat)
    client.chat.completions.create(**chat)
"""


@pytest.mark.parametrize("names_agents", [True, False])
def test_calls_name_the_agent_that_makes_them_where_agents_have_roles(
    workplace: Workplace, gateway: str, names_agents: bool
) -> None:
    folder = workplace.folder()
    made = agent_environment({}, folder, gateway, names_agents=names_agents)
    folder.remove()
    seen = workplace.run(TEAM, gateway=gateway, HEADRACE_NAMES_AGENTS=made.get(NAMES_AGENTS, ""))
    assert seen.code == 0, seen.output
    told = ("writer", "checker") if names_agents else (None, None)
    assert Gateway.agents == [None, *told, "own", None]
