"""The page of a run of `benchmarks.trainer.run`."""

from typing import Any

MIB = 1 << 20


def markdown(result: dict[str, Any]) -> str:
    """Tables of a result."""
    presets = result["presets"]
    one = next(iter(presets.values()))["now"]
    options = result["options"]
    lines = [
        "# A step of the trainer",
        "",
        f"{result['processor']}, {', '.join(result['flags'])}, {result['cores']} cores, load "
        f"{result['load_before']} before the run, {result['date']}. {options['note']}".rstrip(),
        "",
        f"{one['parameters'] / 1e6:.0f} M parameters ({one['dtype'].removeprefix('torch.')}), "
        f"{one['rows']} calls of {one['row_tokens']:,} tokens, {one['unique_tokens']:,} with "
        f"shared prefixes once, {one['sampled_tokens']:,} of them sampled; "
        f"{options['threads']} threads, median of {options['steps']} steps, taken in turn.",
        "",
        "| algorithm | step, s | before, s | now / before | TRL, s | peak, MiB | before |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, by in presets.items():
        now, before, trl = by["now"], by.get("before"), by.get("trl")
        lines.append(
            f"| `{name}` | {now['step_seconds']:.2f} | {_of(before, 'step_seconds')} | "
            f"{_ratio(now, before)} | {_of(trl, 'step_seconds')} | {now['peak_bytes'] / MIB:.0f} | "
            f"{'-' if before is None else format(before['peak_bytes'] / MIB, '.0f')} |"
        )
    lines += [
        "",
        "How long the loop stands still for a version (without the transaction), as a share of a "
        "step:",
        "",
        "| algorithm | version, MiB | of it weights | written in, s | gathering for a step "
        "| at once | before |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, by in presets.items():
        now, before = by["now"], by.get("before")
        saved = now["at_once"]
        lines.append(
            f"| `{name}` | {saved['bytes'] / MIB:.0f} | {saved['weights'] / MIB:.0f} | "
            f"{saved['seconds']:.2f} | {_share(now, 'gathering')} | {_share(now, 'at_once')} | "
            f"{'-' if before is None else _share(before, 'at_once')} |"
        )
    lines += [
        "",
        "*Gathering for a step*: the next step's groups come as long after as a step takes, and "
        "the version is written meanwhile. *At once*: they are there already, and the step waits "
        "for the version. *TRL*: loss, gradient and optimiser of its GRPOTrainer (`dr_grpo`) on "
        "the same calls, padded, prompts repeated.",
        "",
    ]
    return "\n".join(lines)


def _of(peer: dict[str, Any] | None, name: str) -> str:
    return "-" if peer is None else f"{peer[name]:.2f}"


def _ratio(now: dict[str, Any], before: dict[str, Any] | None) -> str:
    return "-" if before is None else f"{now['step_seconds'] / before['step_seconds']:.2f}"


def _share(peer: dict[str, Any], when: str) -> str:
    return f"{peer[when]['stood_still'] / peer['step_seconds']:.0%}"
