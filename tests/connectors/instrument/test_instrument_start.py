"""What an agent's process pays before it imports a framework, and what happens when it does."""

from pathlib import Path

import pytest

from tests.connectors.instrument.watched import Workplace

HEAVY = ("opentelemetry", "wrapt", "numpy", "json", "dataclasses", "subprocess", "headrace.schemas")


def test_nothing_is_imported_before_a_framework_is(workplace: Workplace) -> None:
    seen = workplace.run("import sys; print('\\n'.join(sorted(sys.modules)))")
    modules = seen.output.split()
    assert "headrace.connectors.instrument.child" in modules
    assert not [one for one in modules if one.split(".")[0] in HEAVY or one in HEAVY]


def test_the_sitecustomize_that_ours_hides_is_run(workplace: Workplace, tmp_path: Path) -> None:
    hidden = tmp_path / "theirs"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("NAME = 'theirs'\nprint('customized')\n")
    seen = workplace.run("import sitecustomize; print(sitecustomize.NAME)", PYTHONPATH=str(hidden))
    assert seen.output == "customized\ntheirs\n"


def test_a_framework_without_its_package_is_named_and_runs(
    workplace: Workplace, tmp_path: Path
) -> None:
    _package(tmp_path, "crewai", "NAME = 'crew'\n")
    seen = workplace.run("import crewai; print(crewai.NAME)", PYTHONPATH=str(tmp_path))
    assert seen.output == "crew\n"
    (note,) = seen.told.notes
    assert (note.framework, note.package) == ("crewai", "openinference-instrumentation-crewai")


def test_an_instrumentor_is_given_our_provider_once_the_framework_is_there(
    workplace: Workplace, tmp_path: Path
) -> None:
    _package(tmp_path, "smolagents", "def run(): return 'ran'\n")
    _package(tmp_path, "openinference/instrumentation/smolagents", INSTRUMENTOR)
    seen = workplace.run(
        "import smolagents; from smolagents import run; print(run())", PYTHONPATH=str(tmp_path)
    )
    assert (seen.code, seen.output) == (0, "ran\n")
    assert seen.names == ["smolagents.run"]
    assert not seen.told.notes


def test_an_instrumentor_that_fails_takes_neither_the_agent_nor_others_along(
    workplace: Workplace, tmp_path: Path
) -> None:
    _package(tmp_path, "smolagents", "def run(): return 'ran'\n")
    _package(tmp_path, "openinference/instrumentation/smolagents", INSTRUMENTOR)
    _package(tmp_path, "crewai", "")
    _package(tmp_path, "openinference/instrumentation/crewai", "raise KeyError('instruments')\n")
    seen = workplace.run(
        "import crewai, smolagents; print(smolagents.run())", PYTHONPATH=str(tmp_path)
    )
    assert seen.names == ["smolagents.run"]
    assert [note.trouble for note in seen.told.notes] == ["KeyError: 'instruments'"]


def test_a_module_of_the_agents_own_that_is_called_like_a_framework_is_let_be(
    workplace: Workplace, tmp_path: Path
) -> None:
    _package(tmp_path, "agents", "NAME = 'mine'\n")
    seen = workplace.run("import agents; print(agents.NAME)", PYTHONPATH=str(tmp_path))
    assert seen.output == "mine\n"
    assert not seen.told.notes


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_provider_of_the_agents_own_goes_on_and_ours_sees_the_same(
    workplace: Workplace, when: str
) -> None:
    first = "trace.get_tracer('early').start_span('early').end()" if when == "after" else ""
    seen = workplace.run(
        f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
{first}
early = trace.get_tracer("of a framework")
memory = InMemorySpanExporter()
provider = TracerProvider()
trace.set_tracer_provider(provider)
provider.add_span_processor(SimpleSpanProcessor(memory))
assert trace.get_tracer_provider() is provider
early.start_span("framework").end()
trace.get_tracer("own").start_span("own").end()
print(sorted(span.name for span in memory.get_finished_spans()))
"""
    )
    assert seen.output == "['framework', 'own']\n"
    assert seen.names == sorted(["framework", "own", *(["early"] if first else [])])


def test_a_folder_that_is_gone_costs_spans_and_not_the_agent(workplace: Workplace) -> None:
    seen = workplace.run(
        """
import os, shutil
from opentelemetry import trace
os.rename(os.environ["HEADRACE_JOURNAL"], os.environ["HEADRACE_JOURNAL"] + ".gone")
trace.get_tracer("t").start_span("lost").end()
os.rename(os.environ["HEADRACE_JOURNAL"] + ".gone", os.environ["HEADRACE_JOURNAL"])
print("ran")
"""
    )
    assert seen.code == 0
    assert seen.output.endswith("ran\n")
    assert "a span is lost" in seen.output


def _package(directory: Path, name: str, text: str) -> None:
    folder = directory / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(text, encoding="utf-8")


INSTRUMENTOR = """
import smolagents
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class SmolagentsInstrumentor(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return []
    def _instrument(self, tracer_provider):
        tracer, run = tracer_provider.get_tracer("openinference"), smolagents.run
        def traced():
            with tracer.start_as_current_span("smolagents.run"):
                return run()
        smolagents.run = traced
    def _uninstrument(self):
        pass
"""


@pytest.mark.parametrize(
    "first",
    [
        "opentelemetry.trace",
        "opentelemetry.sdk.trace",
        "opentelemetry.sdk.trace.export",
        "opentelemetry.sdk.resources",
        "opentelemetry.propagate",
        "opentelemetry.instrumentation.utils",
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    ],
)
def test_whatever_of_opentelemetry_is_imported_first_the_spans_are_seen(
    workplace: Workplace, first: str
) -> None:
    agent = f"""
        import {first}
        from opentelemetry import trace
        with trace.get_tracer("their").start_as_current_span("work"):
            pass
    """
    seen = workplace.run(agent)
    assert (seen.code, seen.names) == (0, ["work"])
    assert not seen.told.notes
