"""`headrace traffic`: which versions of a policy are served, and to whom."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from headrace.connectors.gateway.policy.versions import NEWEST
from headrace.infra.cli.app import SETTINGS, WRONG_USE, app, fail
from headrace.infra.launch.traffic import Served, TrafficLog
from headrace.infra.settings import load
from headrace.schemas import Traffic, TrafficShare
from headrace.schemas.vocabulary import SaidBy


@app.command()
def traffic(
    policy: Annotated[str, typer.Argument(help="Policy; left out: the default policy.")] = "",
    version: Annotated[
        int | None, typer.Option(min=0, help="Serve this version from now on.")
    ] = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="Serve each version as it comes.")
    ] = False,
    share: Annotated[
        list[str] | None,
        typer.Option(help="VERSION=SHARE: this share of the rollouts gets that version, as 7=0.1."),
    ] = None,
    why: Annotated[str, typer.Option(help="Why; kept with it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show which versions are served, or say which are to be.

    A rollout gets its version by its id: all of its calls the same one. A version that a client or
    a task pins is not touched. What is said stands until it is said anew, for all gateways.
    """
    loaded = load(settings)
    name = policy or loaded.policy.name
    if name not in loaded.models:
        fail(f"there is no policy {name!r}, there are {', '.join(loaded.models)}", WRONG_USE)
    if version is not None and newest:
        fail("--version and --newest say two things: give one", WRONG_USE)
    shares = dict(map(_share, share or ()))
    if sum(shares.values()) > 1:
        fail(f"the shares are {sum(shares.values()):g} together: give 1 at most", WRONG_USE)
    with closing(TrafficLog(loaded, [name])) as log:
        log.read()
        now = log.served[name]
        if version is not None or newest or shares:
            for one in (*shares, *([] if version is None else [version])):
                if one not in now.versions:
                    fail(f"{name}@{one} was not published: {_published(now)}", WRONG_USE)
            now.traffic = Traffic(
                policy=name,
                version=NEWEST if newest else now.traffic.version if version is None else version,
                shares=[TrafficShare(version=one, share=of) for one, of in sorted(shares.items())],
                said_by=SaidBy.USER,
                why=why,
                judged=now.traffic.judged,
            )
            log.say(now.traffic)
    if as_json:
        typer.echo(json.dumps({**asdict(now.traffic), "versions": now.versions}))
    else:
        typer.echo(_words(now))


def _share(text: str) -> tuple[int, float]:
    version, _, share = text.partition("=")
    try:
        found = int(version), float(share)
    except ValueError:
        fail(f"--share is {text!r}: give VERSION=SHARE, as 7=0.1", WRONG_USE)
    if found[0] < 0 or not 0 < found[1] <= 1:
        fail(f"--share is {text!r}: a version is 0 or more, a share above 0 and up to 1", WRONG_USE)
    return found


def _published(now: Served) -> str:
    if not now.versions:
        return "no version is, yet"
    return f"versions 0 to {max(now.versions)} are"


def _words(now: Served) -> str:
    traffic = now.traffic
    target = "the newest version" if traffic.version == NEWEST else f"version {traffic.version}"
    lines = [f"{traffic.policy}: {target} is served ({_published(now)} published)"]
    lines += [
        f"  {one.share:.1%} of the rollouts get version {one.version}" for one in traffic.shares
    ]
    if traffic.said_by or traffic.why:
        lines.append(
            f"  said by {traffic.said_by or 'somebody'}: {traffic.why or 'no reason given'}"
        )
    return "\n".join(lines)
