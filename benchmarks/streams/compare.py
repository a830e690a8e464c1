"""A run beside an earlier one, phase by phase. Pure but for reading the earlier one's file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.streams.phase import Outcome

Phases = Sequence[Mapping[str, Any]]


def newest(folder: Path, stem: str) -> Path | None:
    """The newest result of a name in a folder, by the date in its own name; None: there is none."""
    found = sorted(folder.glob(f"{stem}-*.json"), key=lambda file: file.stem[-len("2026-01-01") :])
    return found[-1] if found else None


def read(file: Path) -> Phases:
    """The phases of a result."""
    phases: Phases = json.loads(file.read_text())["phases"]
    return phases


def side_by_side(before: Phases, outcomes: Sequence[Outcome]) -> str:
    """A table in Markdown: what each figure was and is, for the phases that both have."""
    known = {phase["name"]: phase for phase in before}
    lines = ["| phase | figure | before | now |", "|---|---|---|---|"]
    for phase in map(asdict, outcomes):
        if (old := known.get(phase["name"])) is not None:
            lines += [
                f"| {phase['name']} | {what} | {_told(was)} | {_told(value)} |"
                for (what, was), (_, value) in zip(_figures(old), _figures(phase), strict=True)
            ]
    return "\n".join(lines)


def _figures(phase: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    rates, cpu = phase["rates"], phase["cpu_per_1000_spans"]
    return [
        ("assembled spans/s", rates["assembled_spans"]),
        ("credited episodes/s", rates["credited_episodes"]),
        ("cores", phase["cores"]),
        *((f"{part}, CPU ms a span", cpu.get(part)) for part in _PARTS),
        ("all, CPU ms a span", sum(cpu.values())),
        *(
            (f"{name}, {p} ms", (phase[key] or {}).get(p))
            for key, name in _LATE.items()
            for p in ("p50", "p99")
        ),
    ]


_PARTS = ("producer", "kafka", "assemble", "credit", "clickhouse")
_LATE = {"to_credits": "Credits on the topic", "to_span_row": "row in `spans`"}


def _told(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"
