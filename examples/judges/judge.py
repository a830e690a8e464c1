"""Judges that reward by reading: a grade for each episode, and what its user replied for each call.

A producer as any scorer is: it reads `headrace.episodes`, asks a model behind an OpenAI-compatible
API, and sends reward spans. It may be slow, be stopped, and be run several times at once.
"""

import argparse
import hashlib
import json
import logging
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openai import OpenAI

from headrace.connectors.kafka import GroupReader, LogRecord, Registry, ends_of
from headrace.connectors.sdk import Telemetry, sdk_config, send_reward
from headrace.infra.settings import load
from headrace.schemas import (
    Codec,
    Episode,
    EpisodeBatch,
    MalformedRecord,
    UnknownSchemaId,
    from_avro,
)
from headrace.schemas.topics import Topic

logger = logging.getLogger("judges")

GRADE, REPLY = "judge", "reply"
"""Names of the rewards."""

GRADER = (
    "You grade the work of an assistant. Answer with one number from 0 to 1 and nothing else: "
    "1 if the result does what the task asks, 0 if it does not, in between for a part of it."
)
READER = (
    "You are shown what an assistant said and what its user replied. Answer with one number and "
    "nothing else: 1 if the user is satisfied or goes on, -1 if the user corrects it, repeats the "
    "question or is annoyed, 0 if the reply does not tell."
)
_NUMBER = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*\.?\s*")

Ask = Callable[[str, str], float | None]
"""What the judge's model says to instructions and a text, as a number; None: it said none."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Verdict:
    """A reward; `target`: the span of the call it is for, '' for the episode."""

    name: str
    value: float
    target: str = ""


def grades(episode: Episode, ask: Ask) -> Iterator[Verdict]:
    """A grade of the result, where nobody has given one."""
    if any(given.name == GRADE for given in episode.rewards):
        return
    told = f"Task:\n{episode.task_input}\n\nResult:\n{episode.result}"
    if episode.expected:
        told += f"\n\nA right result:\n{episode.expected}"
    value = ask(GRADER, told)
    if value is not None and 0 <= value <= 1:
        yield Verdict(name=GRADE, value=value)


def replies(episode: Episode, ask: Ask) -> Iterator[Verdict]:
    """What the user thought of each call, as far as its next state tells: the user's words in the
    next call of the same agent."""
    judged = {given.target for given in episode.rewards if given.name == REPLY}
    for place, call in enumerate(episode.calls):
        following = [one for one in episode.calls[place + 1 :] if one.agent == call.agent]
        if call.span_id in judged or not following:
            continue
        if reply := reply_in(following[0].input):
            value = ask(READER, f"Assistant:\n{call.output}\n\nUser:\n{reply}")
            if value is not None and -1 <= value <= 1:
                yield Verdict(name=REPLY, value=value, target=call.span_id)


def reply_in(messages: str) -> str:
    """What the user said after the assistant, in the messages of a call; '' for nothing."""
    try:
        every = json.loads(messages)
    except ValueError:
        return ""
    said: list[str] = []
    answered = False
    for one in every if isinstance(every, list) else []:
        role = one.get("role") if isinstance(one, dict) else None
        if role == "assistant":
            answered, said = True, []
        elif role == "user" and answered:
            content = one.get("content")
            said.append(content if isinstance(content, str) else json.dumps(content))
    return "\n".join(said)


def asking(client: OpenAI, model: str) -> Ask:
    """Asks a model of an OpenAI-compatible server; the client tries again where it may help."""

    def ask(instructions: str, text: str) -> float | None:
        answer = client.chat.completions.create(
            model=model,
            temperature=0,
            messages=[
                {"role": "system", "content": instructions},
                {"role": "user", "content": text},
            ],
        )
        said = answer.choices[0].message.content or ""
        found = _NUMBER.fullmatch(said)
        if found is None:
            logger.warning("the judge said %r, which is no number: no reward is given", said[:80])
        return float(found[1]) if found else None

    return ask


def reward_id(episode: Episode, verdict: Verdict) -> str:
    """The id of a verdict's span, the same whenever and by whom it is sent: it counts once."""
    of = f"{episode.rollout_id}/{episode.attempt}/{verdict.name}/{verdict.target}"
    return hashlib.sha256(of.encode()).hexdigest()[:16]


def judge(episode: Episode, ask: Ask, telemetry: Telemetry) -> int:
    """Send the verdicts on an episode; how many there were. Raises NotDurable, or OpenAIError."""
    verdicts = [*grades(episode, ask), *replies(episode, ask)]
    for one in verdicts:
        send_reward(
            telemetry, episode.rollout_id, episode.attempt, one.name, one.value,
            target=one.target, source="judges", project=episode.project,
            span_id=reward_id(episode, one),
        )  # fmt: skip
    return len(verdicts)


def episodes_of(codec: Codec, record: LogRecord) -> Sequence[Episode]:
    """The episodes of a record; none of a tick, or of what is no record of ours."""
    if record.tick:
        return []
    try:
        return from_avro(EpisodeBatch, codec.decode(Topic.EPISODES, record.value)).episodes
    except (MalformedRecord, UnknownSchemaId):
        logger.warning("%s/%d/%d cannot be read", *record.where, record.offset)
        return []


def main(argv: Sequence[str] | None = None) -> None:
    """Judge episodes until told to stop. What was not judged when it stops is judged next time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = _options(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = load(options.settings)
    kafka = settings.kafka_access.client("judges")
    codec = Codec(Registry(settings.registry_access))
    telemetry = Telemetry(
        sdk_config(settings.kafka_access, settings.registry_access, settings.privacy)
    )
    ask = asking(OpenAI(base_url=options.base_url, api_key=options.api_key), options.model)
    reader = GroupReader(
        kafka, [Topic.EPISODES], group=options.group, auto_offset_reset="earliest",
        max_poll_interval_ms=3_600_000,  # a judge may be slow
    )  # fmt: skip
    try:
        while not stop.is_set():
            for record in reader.read(0.5, 1):
                for episode in episodes_of(codec, record):
                    count = judge(episode, ask, telemetry)
                    name = f"{episode.rollout_id}/{episode.attempt}"
                    logger.info("%s: %d rewards", name, count)
                reader.commit(ends_of([record]))
    finally:
        reader.close()
        telemetry.close()


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", required=True, help="of the judge's server, with /v1")
    parser.add_argument("--model", required=True, help="the judge's model there")
    parser.add_argument("--api-key", default="none", help="of that server")
    parser.add_argument("--settings", type=Path, help="instead of ./headrace.toml")
    parser.add_argument("--group", default="judges", help="consumer group (%(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
