"""The results as JSON, as a table and as a plot."""

import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.streams.figures import Latency
from benchmarks.streams.phase import Outcome

_PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "chdb-core", "fastavro", "pyarrow")
_ORDER = ("producer", "kafka", "assemble", "credit", "clickhouse", "sink", "registry")


def versions() -> dict[str, str]:
    """Of the packages that the stream is made of."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def summary(outcome: Outcome) -> str:
    """A phase in a line or two."""
    rates = outcome.rates
    cpu = ", ".join(
        f"{name} {outcome.cpu_per_1000_spans[name]:.3f}"
        for name in _ORDER
        if name in outcome.cpu_per_1000_spans
    )
    text = (
        f"{outcome.name}: {outcome.spans:,} spans in {outcome.records:,} records, produced "
        f"{rates.produced_spans:,.0f}/s ({rates.produced_megabytes:.1f} MB/s), assembled "
        f"{rates.assembled_spans:,.0f}/s, credited {rates.credited_episodes:,.0f} episodes/s, "
        f"{outcome.cores:.2f} cores\n  CPU-s per 1,000 spans: {cpu}"
    )
    latencies = {
        "credits": outcome.to_credits,
        "span row": outcome.to_span_row,
        "group row": outcome.to_group_row,
    }
    told = [f"{name} {one.p50:.0f}/{one.p99:.0f}" for name, one in latencies.items() if one]
    return text + (f"\n  ms p50/p99: {', '.join(told)}" if told else "")


def write(
    folder: Path,
    stem: str,
    facts: Mapping[str, Any],
    idle: Mapping[str, float],
    outcomes: Sequence[Outcome],
) -> list[Path]:
    """Write all three; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = re.sub(r"[^a-z0-9]+", "-", str(facts["processor"]).lower()).strip("-")
    name = f"{stem}-{machine}-{facts['cores']}-cores-{facts['date']}"
    data = folder / f"{name}.json"
    content = {
        "about": facts,
        "idle_cores": idle,
        # The plot has the timelines; nobody reads their thousands of points again.
        "phases": [
            {name: value for name, value in asdict(outcome).items() if name != "timelines"}
            for outcome in outcomes
        ],
    }
    data.write_text(json.dumps(content, indent=1) + "\n")
    table = folder / f"{name}.md"
    table.write_text(markdown(facts, idle, outcomes))
    plot = folder / f"{name}.png"
    _plot(plot, outcomes)
    return [data, table, plot]


def markdown(
    facts: Mapping[str, Any], idle: Mapping[str, float], outcomes: Sequence[Outcome]
) -> str:
    """The figures as a page."""
    options = facts["options"]
    lines = [
        f"# Streams on {facts['cores']} cores of {facts['processor']}, {facts['date']}",
        "",
        f"{facts['memory_gb']} GB of memory, {facts['system']}, Python {facts['python']}; "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        + f". Broker, registry, ClickHouse's engine, the sink, {options.get('workers', 1)} of "
        "assemble and as many of credit, and the producer "
        f"share the machine, whose load was {facts.get('load_before', 'not noted')} before. "
        f"Episodes of {options['calls']} calls with prompts of about "
        f"{options['prompt_tokens']} tokens and {options['completion_tokens']} sampled ones, "
        f"groups of {options['group_size']}, {options['partitions']} partitions.",
        "",
        "| phase | spans | records | produced spans/s | MB/s | assembled spans/s | credited "
        "episodes/s | rows/s | cores |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {o.name} | {o.spans:,} | {o.records:,} | {o.rates.produced_spans:,.0f} | "
            f"{o.rates.produced_megabytes:.1f} | {o.rates.assembled_spans:,.0f} | "
            f"{o.rates.credited_episodes:,.0f} | {o.rates.rows:,.0f} | {o.cores:.2f} |"
            for o in outcomes
        ),
        "",
        "Milliseconds from an end span being given to the SDK, p50 / p90 / p99 / worst:",
        "",
        "| phase | row in `spans` | Credits of its group on the topic | final row of its group |",
        "|---|---|---|---|",
        *(
            f"| {o.name} | {_four(o.to_span_row)} | {_four(o.to_credits)} | "
            f"{_four(o.to_group_row)} |"
            for o in outcomes
            if o.to_credits
        ),
        "",
        "CPU-seconds per 1,000 spans, idle work included (in the steady phases ClickHouse also "
        "answers the probe's queries about one group each two seconds, which the producer asks):",
        "",
        f"| phase | {' | '.join(_ORDER)} | all |",
        "|---" * (len(_ORDER) + 2) + "|",
        *(
            f"| {o.name} | "
            + " | ".join(f"{o.cpu_per_1000_spans[name]:.3f}" for name in _ORDER)
            + f" | {sum(o.cpu_per_1000_spans.values()):.3f} |"
            for o in outcomes
        ),
        "",
        "Cores while nothing comes: "
        + ", ".join(f"{name} {idle[name]:.3f}" for name in _ORDER if name in idle)
        + ".",
        "",
        "Most resident memory since the start, MB: "
        + ", ".join(
            f"{name} {outcomes[-1].peak_megabytes[name]:.0f}"
            for name in _ORDER
            if name in outcomes[-1].peak_megabytes
        )
        + ".",
        "",
        _verdict(outcomes),
        "",
    ]
    return "\n".join(lines)


def _four(one: Latency | None) -> str:
    return f"{one.p50:.0f} / {one.p90:.0f} / {one.p99:.0f} / {one.worst:.0f}" if one else "-"


def _verdict(outcomes: Sequence[Outcome]) -> str:
    faults = [f"{o.name}: {fault}" for o in outcomes for fault in o.faults]
    if faults:
        return "**Wrong counts:** " + "; ".join(faults) + "."
    return (
        "Every count agreed: spans sent, taken, stored and on the topic of episodes, their ids "
        "episode by episode, samples, groups, Credits and tasks; nothing twice."
    )


def _plot(file: Path, outcomes: Sequence[Outcome]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (line, cost, late) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    flood, steady = outcomes[0], [o for o in outcomes if o.to_credits and o.to_span_row]
    for name, points in flood.timelines.items():
        line.plot([t for t, _ in points], [n / 1000 for _, n in points], label=name)
    line.set(xlabel="seconds", ylabel="thousand spans", title="All at once")
    line.legend(frameon=False)
    cost.barh(_ORDER, [flood.cpu_per_1000_spans[part] * 1000 for part in _ORDER])
    cost.invert_yaxis()
    cost.set(xlabel="CPU µs a span", title="What a span costs, all at once")
    for column, label in (("to_span_row", "span row"), ("to_credits", "Credits on the topic")):
        found = [getattr(outcome, column) for outcome in steady]
        rates = [outcome.offered_rate for outcome in steady]
        (drawn,) = late.plot(rates, [one.p50 for one in found], "o-", label=f"{label}, p50")
        late.plot(
            rates, [one.p99 for one in found], "o:", color=drawn.get_color(), label=f"{label}, p99"
        )
    late.set(xlabel="episodes a second", ylabel="milliseconds", title="How late", ylim=(0, None))
    if steady:
        late.legend(frameon=False)
    figure.savefig(file, dpi=110)
    plt.close(figure)
