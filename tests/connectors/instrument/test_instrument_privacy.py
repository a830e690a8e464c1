"""What an agent's processes write lies on no disk with what may not be kept."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.commands.environment import agent_environment
from headrace.connectors.commands.folder import Ended, make_folder
from headrace.connectors.commands.private import hiding, private_end, private_identity
from headrace.connectors.instrument import keeping
from headrace.connectors.mapping.conventions import conventions
from headrace.connectors.privacy import Hidden, Privacy, PrivacySettings
from headrace.connectors.privacy.escapes import levels
from headrace.connectors.privacy.facts import INPUT_SIDES, OUTPUT_SIDES
from headrace.connectors.privacy.records import RecordPrivacy
from headrace.connectors.privacy.switches import CAPTURE_CONTENT, PREFIX
from headrace.connectors.settings import variable
from tests.connectors.instrument.watched import Seen, Workplace

SECRET = "alice@example.com"
AGENT = f"""
    import sys
    from opentelemetry import trace
    from headrace.connectors.sdk import reward, span, tool

    secret = "{SECRET}"
    tracer = trace.get_tracer("mine")

    @tool
    def look(who):
        return [who, {{"again": who}}]

    look(secret)
    reward(1.0, name="for " + secret)
    with span("to " + secret, note=secret) as here:
        here.attributes["more"] = {{"deep": secret}}
    with tracer.start_as_current_span("chat") as one:
        one.set_attribute("gen_ai.operation.name", "chat")
        one.set_attribute("gen_ai.usage.input_tokens", 7)
        one.set_attribute("gen_ai.input.messages", '[{{"content": "al\\\\u0069ce@example.com"}}]')
        one.set_attribute("gen_ai.output.messages", secret)
        one.add_event("said", {{"what": secret}})
        one.set_status(trace.StatusCode.ERROR, secret)
    open_one = tracer.start_span("left open", attributes={{"of": secret}})
    if sys.argv[1:]:
        raise ValueError(secret)
"""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Whatever an attempt's folder ever held, before it goes."""
    from headrace.connectors.commands import folder as folders

    held: dict[str, bytes] = {}
    remove = folders.AttemptFolder.remove

    def keep_and_remove(self: Any) -> None:
        held.update({str(p): p.read_bytes() for p in self.path.rglob("*") if p.is_file()})
        remove(self)

    monkeypatch.setattr(folders.AttemptFolder, "remove", keep_and_remove)
    return held


def run(workplace: Workplace, *arguments: str, **environment: str) -> Seen:
    return workplace.run(AGENT, *arguments, when="", then=None, gateway=None, **environment)


def holds(data: bytes, text: str = SECRET) -> bool:
    return any(text.encode() in plain for plain in (data, *levels(data)))


def but_for_names(written: dict[str, bytes]) -> list[str]:
    """The records of journals without the names, which are facts: theirs who name."""
    lines = [
        line
        for name, data in written.items()
        if name.endswith(".jsonl")
        for line in data.splitlines()
    ]
    return [json.dumps({**json.loads(line), "name": ""}) for line in lines]


def test_without_settings_all_of_it_is_written(
    workplace: Workplace, written: dict[str, bytes]
) -> None:
    run(workplace)
    assert any(map(holds, written.values()))


@pytest.mark.parametrize("arguments", [(), ("fail",)])
def test_a_journal_holds_no_secret(
    workplace: Workplace, written: dict[str, bytes], arguments: tuple[str, ...]
) -> None:
    seen = run(workplace, *arguments, HEADRACE_PRIVACY_REDACT="all")
    assert any(b"[email]" in data for data in written.values())
    assert [name for name, data in written.items() if holds(data)] == []
    assert "no spans are written" not in seen.output
    told = seen.named("look")
    assert (told.input, told.output) == (
        '{"who": "[email]"}',
        '["[email]", {"again": "[email]"}]',
    )
    assert [s.reward.name for s in seen.spans if s.reward] == ["for [email]"]
    assert seen.named("left open").status == "error"


@pytest.mark.parametrize("arguments", [(), ("fail",)])
def test_metadata_writes_facts_alone(
    workplace: Workplace, written: dict[str, bytes], arguments: tuple[str, ...]
) -> None:
    seen = run(workplace, *arguments, HEADRACE_PRIVACY_CAPTURE="metadata")
    assert but_for_names(written)
    assert [text for text in but_for_names(written) if SECRET in text] == []
    assert json.loads(seen.named("chat").attributes)["gen_ai.usage.input_tokens"] == 7


@pytest.mark.parametrize(
    "environment",
    [{CAPTURE_CONTENT: "NO_CONTENT"}, {f"{PREFIX}INPUTS": "true", f"{PREFIX}OUTPUTS": "true"}],
)
def test_what_switches_hide_is_not_written(
    workplace: Workplace, written: dict[str, bytes], environment: dict[str, str]
) -> None:
    run(workplace, **environment)
    assert but_for_names(written)
    assert [text for text in but_for_names(written) if SECRET in text] == []


def test_none_writes_no_span(workplace: Workplace, written: dict[str, bytes]) -> None:
    seen = run(workplace, HEADRACE_PRIVACY_CAPTURE="none")
    assert seen.code == 0
    assert not any(map(holds, written.values()))
    assert seen.names == []


def test_settings_that_cannot_be_read_let_nothing_be_written(
    workplace: Workplace, written: dict[str, bytes]
) -> None:
    seen = run(workplace, HEADRACE_PRIVACY_PATTERNS="a=(")
    assert seen.code == 0
    assert "no spans are written" in seen.output
    assert not any(map(holds, written.values()))


def test_one_hidden_side_leaves_the_other() -> None:
    keep = RecordPrivacy(Privacy(PrivacySettings(), frozenset({Hidden.INPUTS})), "p", str).kept
    told = {"input.value": "in", "output.value": "out", "tool.name": "look", "my.own": "x"}
    record = {
        "k": "end", "name": "n", "message": "m", "attributes": told, "resource": {}, "events": [],
    }  # fmt: skip
    kept = keep(record)
    assert kept is not None
    assert kept["attributes"] == {"output.value": "out", "tool.name": "look"}


def test_the_gateways_response_is_still_known_without_the_answer() -> None:
    keep = RecordPrivacy(Privacy(PrivacySettings(capture="metadata")), "p", str).kept
    answer = json.dumps({"id": "chatcmpl-00000000000000ab", "choices": [SECRET]})
    kept = keep({"k": "start", "name": "n", "attributes": {"output.value": answer}})
    assert kept is not None
    assert kept["attributes"] == {"gen_ai.response.id": "chatcmpl-00000000000000ab"}


def test_every_attribute_that_the_mapping_reads_as_a_side_is_known_as_one() -> None:
    sides: dict[str, tuple[str, ...]] = {}
    sides |= {"input": INPUT_SIDES, "tool_input": INPUT_SIDES, "system": INPUT_SIDES}
    sides |= {"output": OUTPUT_SIDES, "tool_output": OUTPUT_SIDES}
    named = [(name, what) for name, (what, _) in conventions().fields.items()]
    named += list(conventions().prefixes)
    read = [(name, what) for name, what in named if what in sides]
    assert read
    assert [(name, what) for name, what in read if not name.startswith(sides[what])] == []


def test_an_attempts_folder_holds_no_secret(workplace: Workplace, tmp_path: Path) -> None:
    from dataclasses import replace

    identity = replace(
        workplace.folder().identity,
        task_input=SECRET,
        expected=SECRET,
        agent=SECRET,
        subject=SECRET,
    )
    folder = make_folder(
        tmp_path / "redacted", private_identity(identity, Privacy(PrivacySettings(redact=("all",))))
    )
    ended = Ended(status="ok", result=json.dumps({"to": SECRET}), at=1)
    redacting = Privacy(PrivacySettings(redact=("all",)))
    folder.end(private_end(ended, "default", redacting))
    for path in folder.path.iterdir():
        assert not holds(path.read_bytes())
    hidden = Privacy(PrivacySettings(), frozenset({Hidden.OUTPUTS}))
    assert private_end(ended, "default", hidden).result == ""
    kept = private_identity(identity, hidden)
    assert (kept.task_input, kept.expected) == (SECRET, "")


def test_the_agents_environment_has_the_settings_and_the_gateway_is_told(
    workplace: Workplace,
) -> None:
    folder = workplace.folder()
    settings = PrivacySettings(redact=("email",), patterns=("a=b{1,2}",))
    own = {"OPENINFERENCE_HIDE_INPUTS": "true"}
    made = agent_environment(own, folder, "http://127.0.0.1:8000", "", settings)
    assert made[variable("privacy", "patterns")] == '["a=b{1,2}"]'
    assert "x-headrace-hide: inputs" in made["OPENAI_CUSTOM_HEADERS"]
    assert "x-headrace-hide: inputs" in made["ANTHROPIC_CUSTOM_HEADERS"]
    plain = agent_environment({}, folder, "http://127.0.0.1:8000")
    assert "hide" not in plain["OPENAI_CUSTOM_HEADERS"]
    assert not any(name.startswith(keeping.SETTINGS) for name in plain)


def test_what_the_gateway_is_told() -> None:
    hidden = frozenset({Hidden.INPUTS, Hidden.TOOLS})
    assert hiding(PrivacySettings(), hidden, "p") == "inputs,tools"
    assert hiding(PrivacySettings(honour_switches=False), hidden, "p") == ""
    assert hiding(PrivacySettings(projects=("p=metadata",)), frozenset(), "p") == "content"


def test_an_agents_process_knows_the_names_of_the_variables() -> None:
    assert keeping.SWITCHES == (PREFIX, CAPTURE_CONTENT)
    assert variable("privacy", "capture").startswith(keeping.SETTINGS)
    assert not any(name.startswith(keeping.SETTINGS) for name in os.environ)
