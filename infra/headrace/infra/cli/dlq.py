"""`headrace dlq`: records that could not be read."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.connectors.kafka import REPLAYABLE, KafkaConfig, Kept, kept_letters, send_again
from headrace.infra.cli.app import NO, SETTINGS, WRONG_USE, app, fail
from headrace.infra.settings import Settings, load
from headrace.schemas import SCHEMA_FILES, MalformedRecord, unframe

SHOWN_BYTES = 256

dlq_app = typer.Typer(help="Records that could not be read.", no_args_is_help=True)
app.add_typer(dlq_app, name="dlq")

TOPIC = typer.Option("--topic", help="As headrace.spans; all topics if none is given.")
JSON = typer.Option("--json", help="A JSON object a letter.")


@dlq_app.command("list")
def list_letters(
    topic: Annotated[str | None, TOPIC] = None,
    as_json: Annotated[bool, JSON] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """List the dead letters: where each record stood, why it was set aside, and by whom."""
    letters = _letters(load(settings), topic)
    for kept in letters:
        letter = kept.letter
        if as_json:
            typer.echo(json.dumps(_facts(kept)))
            continue
        again = ", sent again" if kept.replayed else ""
        size = len(letter.value or b"")
        said = " ".join(letter.message.split())[:160]
        typer.echo(f"{kept.place}: {letter.reason} ({letter.stage}, {size} bytes{again}): {said}")
    if not letters and not as_json:
        typer.echo("no dead letters")


@dlq_app.command("show")
def show_letter(
    place: Annotated[str, typer.Argument(help="As headrace.spans/3/1204.")],
    as_json: Annotated[bool, JSON] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show one dead letter: all that is known of it, and how its bytes begin.

    Exit code 1 if there is none of that place.
    """
    (kept,) = _chosen(load(settings), [place])
    if as_json:
        typer.echo(json.dumps(_facts(kept) | {"value": (kept.letter.value or b"").hex()}))
        return
    for name, value in _facts(kept).items():
        typer.echo(f"{name:<12} {value}")
    typer.echo("")
    beginning = (kept.letter.value or b"")[:SHOWN_BYTES]
    for start in range(0, len(beginning), 16):
        line = beginning[start : start + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in line)
        typer.echo(f"{start:04x}  {line.hex(' '):<47}  {text}")


@dlq_app.command("replay")
def replay(
    places: Annotated[
        list[str] | None, typer.Argument(help="As headrace.spans/3/1204; or give --all.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All that were not sent again yet, of --topic or any.")
    ] = False,
    topic: Annotated[str | None, TOPIC] = None,
    as_json: Annotated[bool, JSON] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Send dead letters again, byte for byte, to the partitions that they stood in.

    For spans, episodes, samples and credits: whoever reads them keeps sets, so a record that comes
    again changes nothing. Mend first what could not read them, or they come back.
    """
    loaded = load(settings)
    if bool(places) == every:
        fail("name the records (headrace dlq list shows them), or give --all", WRONG_USE)
    if every:
        letters = [
            kept
            for kept in _letters(loaded, topic)
            if not kept.replayed and kept.letter.topic in REPLAYABLE
        ]
    else:
        letters = _chosen(loaded, places or [])
        if refused := sorted({k.letter.topic for k in letters} - set(REPLAYABLE)):
            fail(f"{', '.join(refused)}: only {', '.join(REPLAYABLE)} can be sent again", WRONG_USE)
    if letters:
        send_again(_kafka(loaded), letters)
    for kept in letters:
        typer.echo(json.dumps(_facts(kept)) if as_json else f"{kept.place} was sent again")
    if not letters and not as_json:
        typer.echo("nothing to send again")


def _letters(settings: Settings, topic: str | None) -> list[Kept]:
    if topic is not None and topic not in SCHEMA_FILES:
        fail(f"no topic {topic!r}: there are {', '.join(SCHEMA_FILES)}", WRONG_USE)
    return kept_letters(_kafka(settings), [topic] if topic else list(SCHEMA_FILES))


def _chosen(settings: Settings, places: list[str]) -> list[Kept]:
    topics = sorted({place.rsplit("/", 2)[0] for place in places})
    if unknown := [topic for topic in topics if topic not in SCHEMA_FILES]:
        fail(f"{unknown[0]!r} is no topic: write TOPIC/PARTITION/OFFSET", WRONG_USE)
    found = {kept.place: kept for kept in kept_letters(_kafka(settings), topics)}
    if lacking := [place for place in places if place not in found]:
        fail(f"no dead letter {', '.join(lacking)}: `headrace dlq list` shows what there is", NO)
    return [found[place] for place in places]


def _kafka(settings: Settings) -> KafkaConfig:
    return settings.kafka_access.client("headrace.letters")


def _facts(kept: Kept) -> dict[str, Any]:
    letter = kept.letter
    try:
        schema_id, _ = unframe(letter.value)
    except MalformedRecord:
        schema_id = -1
    return {
        "place": kept.place,
        "reason": letter.reason,
        "message": letter.message,
        "stage": letter.stage,
        "log_time": letter.log_time,
        "set_aside": kept.set_aside,
        "bytes": len(letter.value or b""),
        "schema_id": schema_id,
        "replayed": kept.replayed,
    }
