"""Sections of the settings beside each other: what one follows from another, and what clashes."""

import dataclasses
from collections.abc import Iterator
from itertools import starmap

from headrace.connectors.engines.roles import roles_of
from headrace.connectors.settings import Fault
from headrace.infra.settings.sections import Settings
from headrace.trainer.presets import PRESETS, contradictions
from headrace.trainer.settings import bad_budget


def followed(settings: Settings) -> Settings:
    """The credit stage gives what the algorithm takes, unless a setting says otherwise."""
    preset, credit = PRESETS[settings.trainer.algorithm], settings.credit
    tokens = credit.overlong_tokens
    if tokens is None and preset.overlong:
        tokens = settings.policy.max_sequence
    changed = dataclasses.replace(
        credit, baseline=credit.baseline or preset.baseline, overlong_tokens=tokens
    )
    return dataclasses.replace(settings, credit=changed)


def conflicts(settings: Settings) -> Iterator[Fault]:
    """What is wrong between sections: two parts on one port, or a registry that cannot enter."""
    if settings.policy.name in settings.policies.entries:
        text = "is the default policy's name ([policy] name): give the further policy another"
        yield Fault("policies", settings.policy.name, text)
    yield from roles_of(tuple(settings.models), settings.agents)[1]
    if settings.kafka.security_protocol != "PLAINTEXT" and not settings.registry.url:
        text = "is empty, and the embedded registry cannot enter a secured broker: name yours"
        yield Fault("registry", "url", text)
    if too_short := bad_budget(settings.trainer.token_budget, settings.policy.max_sequence):
        yield Fault("trainer", "token_budget", too_short)
    yield from starmap(
        Fault,
        contradictions(
            settings.trainer.algorithm,
            settings.credit.baseline,
            settings.trainer.whiten,
            settings.credit.call,
        ),
    )
    ports = [
        ("gateway", "port", settings.gateway.port),
        *([("console", "port", settings.console.port)] if settings.console.enabled else []),
        *([("otlp", "port", settings.otlp.port)] if settings.otlp.enabled else []),
        *([("otlp", "grpc_port", settings.otlp.grpc_port)] if settings.otlp_grpc else []),
        *(
            []
            if settings.kafka.bootstrap
            else [
                ("kafka", "port", settings.kafka.port),
                ("kafka", "controller_port", settings.kafka.controller_port),
            ]
        ),
        *([] if settings.registry.url else [("registry", "port", settings.registry.port)]),
        *([] if settings.clickhouse.url else [("clickhouse", "port", settings.clickhouse.port)]),
    ]
    taken: dict[int, str] = {}
    for section, one, number in ports:
        if number in taken:
            yield Fault(section, one, f"is {number}, as {taken[number]}: give each its own")
        taken.setdefault(number, f"[{section}] {one}")
