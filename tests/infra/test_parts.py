"""The parts that the settings make."""

import json
from pathlib import Path

import pytest

from headrace.connectors.worker.exits import EXIT_NOT_ASSIGNED, EXIT_RESUMED, EXIT_REVOKED
from headrace.infra.errors import SettingsError
from headrace.infra.launch.parts import (
    arithmetic,
    build_parts,
    heartbeat_file,
    model_directory,
)
from headrace.infra.settings import Settings, load


def settings_in(directory: Path, **more: str) -> Settings:
    model = directory / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    return load(
        environment={
            "HEADRACE_DATA_DIRECTORY": str(directory),
            "HEADRACE_POLICY_MODEL": str(model),
            **more,
        }
    )


@pytest.mark.parametrize("trainer", [True, False])
def test_without_a_trainer_nobody_publishes_a_version_and_the_base_is_served(
    trainer: bool, tmp_path: Path
) -> None:
    parts = {part.name: part for part in build_parts(settings_in(tmp_path), trainer=trainer)}
    assert ("trainer" in parts) is trainer
    assert parts["gateway"].env is not None
    serves_base = parts["gateway"].env["HEADRACE_GATEWAY_SERVE_BASE"]
    assert serves_base == ("false" if trainer else "true")


def test_the_otlp_receiver_is_started_unless_it_is_switched_off(tmp_path: Path) -> None:
    parts = {part.name: part for part in build_parts(settings_in(tmp_path))}
    assert parts["otlp"].endpoint == "http://127.0.0.1:4318"
    assert parts["otlp"].env is not None
    assert parts["otlp"].env["HEADRACE_SPOOL_DIRECTORY"].endswith("/spool/otlp")
    (tmp_path / "off").mkdir()
    off = build_parts(settings_in(tmp_path / "off", HEADRACE_OTLP_ENABLED="false"))
    assert "otlp" not in {part.name for part in off}


@pytest.mark.parametrize("setting", ["auto", "bfloat16", "float32"])
@pytest.mark.parametrize("limit", [None, "AVX2", "AVX512_CORE_BF16"])
def test_engine_and_trainer_are_told_one_decided_arithmetic(
    setting: str, limit: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    settings = settings_in(tmp_path, HEADRACE_POLICY_DTYPE=setting)
    parts = {part.name: part.env or {} for part in build_parts(settings)}
    told = {parts[name]["HEADRACE_POLICY_DTYPE"] for name in ("gateway", "trainer")}
    assert told == {arithmetic(settings).dtype}
    assert setting in ("auto", *told)
    if (setting, limit) == ("auto", "AVX2"):
        assert told == {"float32"}


def test_an_arithmetic_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[policy\] dtype"):
        build_parts(settings_in(tmp_path, HEADRACE_POLICY_DTYPE="float16"))


@pytest.mark.parametrize("name", ["assemble", "credit", "sink", "trainer"])
def test_a_worker_is_not_ready_by_what_its_earlier_life_said(name: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    (part,) = (part for part in build_parts(settings) if part.name == name)
    beat = heartbeat_file(settings, name)
    beat.parent.mkdir(parents=True)
    beat.write_text(json.dumps({"ready": True}))
    assert part.ready()

    assert part.prepare is not None
    part.prepare()
    assert not part.ready()


def test_a_stream_worker_that_asks_for_its_restart_has_not_failed(tmp_path: Path) -> None:
    parts = {part.name: part for part in build_parts(settings_in(tmp_path))}
    for stage in ("assemble", "credit", "sink"):
        assert {EXIT_REVOKED, EXIT_RESUMED} <= parts[stage].planned_exits
        assert EXIT_NOT_ASSIGNED not in parts[stage].planned_exits
    assert not parts["trainer"].planned_exits


def test_every_policy_has_a_trainer_of_its_own_and_the_gateway_has_them_all(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    further = json.dumps({"writer": str(other)})
    settings = settings_in(tmp_path, HEADRACE_POLICIES=further)
    parts = {part.name: part for part in build_parts(settings)}
    assert {name for name in parts if name.startswith("trainer")} == {"trainer", "trainer-writer"}
    told = parts["trainer-writer"].env
    assert (told["HEADRACE_POLICY_NAME"], told["HEADRACE_POLICY_MODEL"]) == ("writer", str(other))
    assert parts["trainer"].env["HEADRACE_POLICY_NAME"] == "assistant"
    assert len({parts[name].log for name in ("trainer", "trainer-writer")}) == 2
    command = parts["gateway"].command
    assert callable(command)
    assert command()[-4:] == [
        "--model-directory",
        str(tmp_path / "model"),
        "--policy",
        f"writer={other}",
    ]


def test_a_policy_that_no_agent_trains_has_no_trainer(tmp_path: Path) -> None:
    told = {
        "HEADRACE_POLICIES": json.dumps({"judge": str(tmp_path / "model")}),
        "HEADRACE_AGENTS": json.dumps({"checker": "frozen(judge)"}),
    }
    parts = {part.name: part for part in build_parts(settings_in(tmp_path, **told))}
    assert [name for name in parts if name.startswith("trainer")] == ["trainer"]
    assert json.loads(parts["gateway"].env["HEADRACE_AGENTS"]) == {"checker": "frozen(judge)"}


def test_a_further_policy_without_a_model_is_named(tmp_path: Path) -> None:
    further = json.dumps({"writer": str(tmp_path / "nowhere")})
    settings = settings_in(tmp_path, HEADRACE_POLICIES=further)
    with pytest.raises(SettingsError, match=r"\[policies\] writer: .*nowhere holds no config"):
        model_directory(settings, "writer")


@pytest.mark.parametrize(("device", "on_gpu"), [("auto", True), ("cuda:1", True), ("cpu", False)])
def test_engine_and_trainer_calculate_as_the_trainers_device_does_it_fast(
    device: str, on_gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr("headrace.connectors.engines.arithmetic.GPUS", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = load(environment={"HEADRACE_TRAINER_DEVICE": device})
    assert ("cuda" in arithmetic(settings).reason) is on_gpu
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if device == "auto":
        assert "cuda" not in arithmetic(settings).reason


def test_the_console_is_a_part_unless_it_is_switched_off(tmp_path: Path) -> None:
    (console,) = (part for part in build_parts(settings_in(tmp_path)) if part.name == "console")
    assert console.endpoint == "http://127.0.0.1:8090"
    (tmp_path / "off").mkdir()
    off = build_parts(settings_in(tmp_path / "off", HEADRACE_CONSOLE_ENABLED="false"))
    assert "console" not in {part.name for part in off}
