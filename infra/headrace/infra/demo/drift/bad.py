"""A version made bad on purpose: noise on the weights of the one that is served."""

import time
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

from headrace.connectors.gateway.policy.versions import located
from headrace.connectors.kafka import Outgoing, Registry, Writer
from headrace.infra.launch.traffic import TrafficLog
from headrace.infra.settings import Settings
from headrace.schemas import Codec, PolicyRecord, PolicyVersion, to_avro
from headrace.schemas.topics import Topic

WEIGHTS = "model.safetensors"
LEFT_OUT = {WEIGHTS, "optimizer.safetensors", "manifest.json"}
NOISE = 1.0
"""Of a matrix's own standard deviation: what such a model says is no language any more."""


def publish_bad(settings: Settings, parent: int, version: int) -> None:
    """Publish a version made from `parent` as a trainer would, with noise on its weights.

    For a policy whose trainer has made its last version: nobody else may use the number.
    Raises LogUnavailable or KafkaClientError.
    """
    log = TrafficLog(settings, [settings.policy.name])
    try:
        log.read()
        record = log.served[settings.policy.name].book.versions[parent]
    finally:
        log.close()
    source = located(record.uri, settings.directory / "checkpoints")
    target = source.parent / f"{version:06d}-bad"
    spoil(source, target)
    _publish(
        settings,
        replace(
            record,
            version=version,
            parent=parent,
            created_at=int(time.time() * 1000),
            uri=str(target.resolve()),
            content_hash="",
            weights_hash="",
            groups=[],
            samples=0,
            metrics={},
        ),
    )


def spoil(source: Path, target: Path) -> None:
    """Write a model like that of `source` with noise on its matrices; `target` is made."""
    import torch  # here: seconds, and only this demo needs it
    from safetensors.torch import load_file, save_file

    target.mkdir()
    for file in source.iterdir():
        if file.name not in LEFT_OUT:
            copyfile(file, target / file.name)
    draw = torch.Generator().manual_seed(0)
    weights = load_file(source / WEIGHTS)
    for name, tensor in weights.items():
        if tensor.ndim == 2:
            noise = torch.randn(tensor.shape, generator=draw) * tensor.float().std() * NOISE
            weights[name] = (tensor.float() + noise).to(tensor.dtype)
    save_file(weights, target / WEIGHTS, metadata={"format": "pt"})


def _publish(settings: Settings, version: PolicyVersion) -> None:
    registry = Registry(settings.registry_access)
    writer = Writer(settings.kafka_access.client("headrace-demo"))
    try:
        value = Codec(registry).encode(Topic.POLICIES, to_avro(PolicyRecord(version=version)))
        key = f"{version.policy}/version/{version.version}"
        writer.send([Outgoing(topic=Topic.POLICIES, key=key, value=value, partition=0)])
    finally:
        writer.close()
        registry.close()
