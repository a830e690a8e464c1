"""What Agent Lightning 0.3.0 sent, by its OtelTracer and its emit_* functions, with no change."""

import json
from pathlib import Path

from headrace.connectors.otlp.decode_json import read_json
from headrace.connectors.otlp.intake import mapped

RECORDED = Path(__file__).parent / "recorded" / "agentlightning-0.3.0.json"


def test_rewards_messages_and_exceptions_come_into_their_rollout() -> None:
    requests = json.loads(RECORDED.read_text())
    bodies = [json.dumps(one).encode() for one in requests]

    spans = [span for body in bodies for span in mapped(read_json(body), "default")[0]]

    assert {(span.rollout_id, span.attempt) for span in spans} == {("ro-1", "at-1")}
    assert [(span.kind, span.name) for span in spans] == [
        ("event", "agentlightning.message"),
        ("event", "agentlightning.object"),
        ("span", "agentlightning.operation"),
        ("exception", "ZeroDivisionError"),
        ("reward", "primary"),
        ("reward", "task"),
        ("reward", "brevity"),
    ]
    rewards = [(s.reward.value, s.reward.target) for s in spans if s.reward is not None]
    assert rewards == [(0.5, ""), (1.0, "00000000000000ff"), (0.25, "00000000000000ff")]
    assert (spans[2].input, spans[2].output) == ('{"x": 1}', "done")
