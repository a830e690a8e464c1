"""`headrace feedback`: a reward for an episode, as late as you like."""

import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from headrace.connectors.feedback import (
    SOURCE,
    BadFeedback,
    Feedback,
    NobodyKnows,
    NotYet,
    Place,
    Places,
    Unread,
    place_of_episode,
    search_episode,
    search_response,
)
from headrace.connectors.sdk import NotDurable, Telemetry, sdk_config
from headrace.infra.cli.app import NO, NOT_RUNNING, SETTINGS, WRONG_USE, app, fail
from headrace.infra.settings import Settings, load


@app.command()
def feedback(
    episode: Annotated[
        str, typer.Argument(help="ROLLOUT/ATTEMPT, or the id of an answer (chatcmpl-…).")
    ],
    name: Annotated[str, typer.Option(help="Name of the reward, as your rule calls it.")],
    value: Annotated[float, typer.Option(help="Its value.")],
    source: Annotated[str, typer.Option(help="Who gives it.")] = SOURCE,
    call: Annotated[
        bool, typer.Option("--call", help="For the call of that answer, not for its episode.")
    ] = False,
    identity: Annotated[
        str, typer.Option("--id", help="Sent again under the same id, it counts once.")
    ] = "",
    project: Annotated[str, typer.Option(help="Project of the episode.")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Give an episode a reward: its group's credit is revised.

    Of one that has just ended it waits for the row, which follows the log. Exit code 1 if nobody
    knows the episode or the answer.
    """
    loaded = load(settings)
    try:
        given = Feedback(name=name, value=value, source=source, id=identity)
        place = _find(loaded, project, episode)
    except BadFeedback as error:
        fail(str(error), WRONG_USE)
    except NobodyKnows as error:
        fail(str(error), NO)
    except NotYet as error:
        fail(str(error), NOT_RUNNING)
    if call and not place.span_id:
        fail("--call wants the id of an answer: an episode has many calls", WRONG_USE)
    telemetry = Telemetry(sdk_config(loaded.kafka_access, loaded.registry_access, loaded.privacy))
    try:
        span = given.span(place, of_call=call)
        telemetry.emit_durably(span)
    except NotDurable as error:
        fail(f"the feedback may not have arrived, send it again: {error}", NOT_RUNNING)
    finally:
        telemetry.close()
    if as_json:
        typer.echo(json.dumps({"episode": place.episode, "project": project, "id": span.span_id}))
    else:
        what = f"call {place.span_id} of " if call else ""
        typer.echo(f"{name} {value:g} for {what}episode {place.episode}")


def _find(settings: Settings, project: str, text: str) -> Place:
    unread = partial(Unread, settings.kafka_access.client("headrace.feedback"))
    with closing(Places(settings.clickhouse_config)) as places:
        if "/" in text:
            return search_episode(places, unread, place_of_episode(project, text)).find()
        return search_response(places, unread, project, text).find()
