"""`headrace canary`: tries each new version on a share of the traffic, and rolls a bad one back."""

import json
import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.connectors.gateway.policy.versions import NEWEST
from headrace.infra.canary.verdict import Rules, Verdict
from headrace.infra.canary.watch import Report, Trials, watch
from headrace.infra.cli.app import SETTINGS, WRONG_USE, app, fail
from headrace.infra.settings import load

ONE_VERSION = "vllm"
"""The engine that holds the weights of one version at a time."""


@app.command()
def canary(
    policy: Annotated[
        str,
        typer.Option(help="Policy whose tasks are drawn; left out: that of [policy]."),
    ] = "",
    share: Annotated[
        float | None, typer.Option(help="Share of the rollouts that a new version gets.")
    ] = None,
    comparisons: Annotated[
        int | None, typer.Option(min=1, help="Comparisons after which a version has passed.")
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(help="Bound on the probability that a version is rolled back for nothing."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One look, and no further.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Try new versions on a share of traffic; roll back bad ones.

    While it runs, a policy's name stands for the last version that was not found worse, and
    training goes on from that one. What is left out is as [canary] says.
    """
    loaded = load(settings)
    if policy and policy not in loaded.models:
        fail(f"there is no policy {policy!r}, there are {', '.join(loaded.models)}", WRONG_USE)
    if loaded.gateway.engine == ONE_VERSION:
        fail(
            f"[gateway] engine is {ONE_VERSION!r}, which serves one version to all: there is "
            "nothing to compare. `headrace traffic --version` pins one",
            WRONG_USE,
        )
    own = loaded.canary
    try:
        watched = Trials(
            loaded,
            [policy or loaded.policy.name],
            rules=Rules(
                error=own.error if error is None else error,
                comparisons=comparisons or own.comparisons,
            ),
            share=own.share if share is None else share,
        )
    except ValueError as wrong:
        fail(str(wrong), WRONG_USE)
    stop = threading.Event()
    if once:
        stop.set()
    else:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
    try:
        watch(watched, own.every_s, stop, lambda report: _tell(report, as_json=as_json))
    finally:
        watched.close()


def _tell(report: Report, *, as_json: bool) -> None:
    typer.echo(json.dumps(_data(report)) if as_json else _words(report))


def _data(report: Report) -> dict[str, Any]:
    move, verdict = report.move, report.verdict
    found: dict[str, Any] = {
        "policy": report.policy,
        "serving": report.serving,
        "canary": report.canary,
        "did": "" if move is None else str(move.did),
    }
    if verdict is not None:
        found |= {
            "finding": str(verdict.finding),
            "comparisons": verdict.comparisons,
            "p_value": verdict.p_value,
            "canary_reward": verdict.canary_reward if verdict.comparisons else None,
            "stable_reward": verdict.stable_reward if verdict.comparisons else None,
        }
    if move is not None:
        found |= {"version": move.version, "why": move.traffic.why, "undo": move.undo}
    return found | ({"trouble": report.trouble} if report.trouble else {})


def _words(report: Report) -> str:
    move = report.move
    if move is not None:
        did = str(move.did).replace("_", " ")
        return (
            f"{report.policy}@{move.version} {did}: {move.traffic.why}\n"
            f"  version {move.traffic.version} is served; "
            f"to take it back, end this and: {move.undo}"
        )
    if report.trouble:
        return f"{report.policy}: {report.trouble}"
    if report.verdict is not None:
        return f"{report.policy}@{report.canary} is tried: {_so_far(report.verdict)}"
    what = "the newest version" if report.serving == NEWEST else f"version {report.serving}"
    return f"{report.policy}: {what} is served, no other is tried"


def _so_far(verdict: Verdict) -> str:
    if not verdict.comparisons:
        return "no rollouts of both versions to compare yet"
    return (
        f"{verdict.comparisons} comparisons, mean reward {verdict.canary_reward:.3g} beside "
        f"{verdict.stable_reward:.3g}, p = {verdict.p_value:.2g}"
    )
