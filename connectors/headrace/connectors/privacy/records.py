"""Spans of OpenTelemetry before they are written to an agent's journal. Pure, stdlib only.

What follows from them is a span of the SDK's, which goes the way of all spans once more: here it
only matters that nothing lies on the disk that may not be kept.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from headrace.connectors.privacy.facts import INPUT_SIDES, OUTPUT_SIDES, facts_of
from headrace.connectors.privacy.privacy import Privacy
from headrace.connectors.privacy.switches import Hidden
from headrace.schemas.ids import RESPONSE_ID

_TEXTS = (
    "name", "message", "trace", "attributes", "resource", "scope", "target", "trouble", "framework",
)  # fmt: skip
_RESPONSE = re.compile(RESPONSE_ID, re.ASCII)
_PLACES = ("headrace.", "agentlightning.rollout_id", "agentlightning.attempt_id", "service.name")
"""Attributes of a resource that say where its spans belong."""


class RecordPrivacy:
    """The settings at work on the records of one project's journal."""

    def __init__(self, privacy: Privacy, project: str, describe: Callable[[Any], Any]) -> None:
        """describe: what JSON cannot hold, as something that it can."""
        self._privacy = privacy
        self._describe = describe
        mode = privacy.capture(project)
        hidden = privacy.hidden
        self._is_none = mode == "none"
        self._hides_inputs = mode == "metadata" or Hidden.INPUTS in hidden
        self._hides_outputs = mode == "metadata" or Hidden.OUTPUTS in hidden

    def kept(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """What of a record may be written; None: nothing."""
        kind = record["k"]
        if self._is_none and kind in ("start", "end", "reward", "raised"):
            return None
        if kind in ("start", "end") and (self._hides_inputs or self._hides_outputs):
            record = self._without_content(record)
        if kind == "raised" and self._hides_outputs:
            record = {**record, "message": "", "trace": ""}
        return self._redacted(record)

    def _without_content(self, record: dict[str, Any]) -> dict[str, Any]:
        kept = {**record, "attributes": self._sides(record["attributes"])}
        if record["k"] == "end":
            kept["message"] = "" if self._hides_outputs else record["message"]
            resource = record["resource"]
            kept["resource"] = {n: v for n, v in resource.items() if n.startswith(_PLACES)}
            kept["events"] = [
                {**event, "attributes": self._sides(event["attributes"])}
                for event in record["events"]
            ]
        return kept

    def _sides(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        sides: tuple[str, ...] = () if self._hides_inputs else INPUT_SIDES
        sides += () if self._hides_outputs else OUTPUT_SIDES
        kept = facts_of(attributes)
        for name, value in attributes.items():
            if name.startswith(sides):
                kept[name] = value
            elif isinstance(value, str) and (found := _RESPONSE.search(value)):
                # It lies in an answer's JSON, and tells which of the gateway's calls this is.
                kept.setdefault("gen_ai.response.id", found[0])
        return kept

    def _redacted(self, record: dict[str, Any]) -> dict[str, Any]:
        if self._privacy.redactor is None:
            return record
        kept = {**record, **{n: self._value(record[n]) for n in _TEXTS if n in record}}
        if "events" in record:
            kept["events"] = [
                {
                    **event,
                    "name": self._value(event["name"]),
                    "attributes": self._value(event["attributes"]),
                }
                for event in record["events"]
            ]
        return kept

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._privacy.text(value)
        told = json.dumps(value, ensure_ascii=False, default=self._describe)
        made = self._privacy.text(told)
        return value if made is told else json.loads(made)
