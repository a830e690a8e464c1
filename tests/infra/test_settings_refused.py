"""Settings that cannot be are refused before anything starts: all at once, each by its name."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.settings import keys
from headrace.infra.errors import SettingsError
from headrace.infra.settings import Settings, load

KEY = re.compile(r"\[([a-z]+)\] (\w+)")


def refusal(directory: Path, text: str) -> str:
    file = directory / "headrace.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(file, environment={})
    return str(refused.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("gateway", "port", "70000"),
        ("gateway", "port", "-1"),
        ("kafka", "port", "80"),
        ("kafka", "partitions", "0"),
        ("kafka", "bootstrap", "'nowhere'"),
        ("registry", "url", "'registry:8081'"),
        ("clickhouse", "url", "'http://user:secret@host'"),
        ("clickhouse", "database", "'default'"),
        ("clickhouse", "database", "'Default'"),
        ("clickhouse", "database", "'system'"),
        ("clickhouse", "database", "'a-b'"),
        ("policy", "name", "'a@b'"),
        ("policy", "name", "'a/b'"),
        ("policy", "name", "''"),
        ("policy", "dtype", "'int8'"),
        ("gateway", "host", "'0.0.0.0'"),
        ("gateway", "host", "'::'"),
        ("gateway", "threads", "0"),
        ("gateway", "drain_seconds", "0"),
        ("gateway", "max_batch", "true"),
        ("trainer", "name", "'a b'"),
        ("trainer", "group_size", "0"),
        ("trainer", "groups_per_step", "-2"),
        ("trainer", "max_staleness", "-1"),
        ("trainer", "learning_rate", "nan"),
        ("trainer", "learning_rate", "inf"),
        ("trainer", "learning_rate", "-1e-5"),
        ("trainer", "horizon", "0"),
        ("assemble", "idle_ms", "0"),
        ("assemble", "take_ms", "1.5"),
        ("streams", "poison_limit", "-1"),
        ("credit", "rule", "'span:a=x'"),
        ("credit", "rule", "'span:a=nan'"),
        ("credit", "rule", "'span:'"),
        ("credit", "rule", "'no such rule'"),
        ("credit", "rule", "''"),
        ("credit", "baseline", "'gprs'"),
        ("credit", "call", "'discounted(2)'"),
        ("credit", "call", "'discounted(nan)'"),
        ("credit", "grace_ms", "-1"),
        ("data", "directory", "''"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_key(
    section: str, key: str, value: str, tmp_path: Path
) -> None:
    told = refusal(tmp_path, f"[{section}]\n{key} = {value}\n")
    assert told.startswith(f"[{section}] {key}")
    assert (
        (section, key) == ("gateway", "host")
        or str(tmp_path / "headrace.toml") in told
        or ((section, key) == ("data", "directory"))
    )
    assert "secret" not in told


def test_every_number_has_a_range(tmp_path: Path) -> None:
    settings = Settings()
    for section in dataclasses.fields(settings):
        for one in keys(type(getattr(settings, section.name))):
            value: Any = getattr(getattr(settings, section.name), one.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                below = refusal(tmp_path, f"[{section.name}]\n{one.name} = -1000000000\n")
                assert below.startswith(f"[{section.name}] {one.name}")


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    told = refusal(
        tmp_path,
        "[gateway]\nport = 70000\nhots = 'x'\n[trainer]\ngroup_size = 0\nlearning_rate = nan\n"
        "[kafak]\nport = 1\n[registry]\nport = 9092\n[policy]\nname = 'a/b'\n",
    )
    for fault in (
        "[gateway] port",
        "[gateway] hots",
        "[trainer] group_size",
        "[trainer] learning_rate",
        "[kafak]",
        "[registry] port is 9092, as [kafka] port",
        "[policy] name",
    ):
        assert fault in told


def test_every_key_that_a_refusal_names_exists(tmp_path: Path) -> None:
    settings = Settings()
    told = [
        refusal(tmp_path, f"[{section.name}]\n{one.name} = {value}\n")
        for section in dataclasses.fields(settings)
        for one in keys(type(getattr(settings, section.name)))
        for value in ("-9000000000", "[1]")
    ]
    named = {match for text in told for match in KEY.findall(text)}
    assert named
    for section, key in named:
        assert hasattr(getattr(settings, section), key)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[gateway]\ndrain_seconds = 3\n", "[gateway] drain_s"),
        ("[gateway]\ndtype = 'float32'\n", "[policy] dtype"),
    ],
)
def test_a_key_of_an_older_version_is_refused_with_its_new_name(
    old: str, new: str, tmp_path: Path
) -> None:
    assert f"is now {new}" in refusal(tmp_path, old)


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_bytes("[policy]\n# für uns\nname = 'a'\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"headrace.toml, line 2: .*UTF-8"):
        load(file, environment={})
    file.write_bytes("[policy]\nname = 'a'\n".encode("utf-16"))
    with pytest.raises(SettingsError, match=r"line 1: .*UTF-8"):
        load(file, environment={})
    file.write_bytes(b"\xef\xbb\xbf[policy]\nname = 'a'\n")  # as some editors save it
    assert load(file, environment={}).policy.name == "a"


def test_a_file_where_a_folder_is_wanted_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    for directory in ("occupied", "occupied/below"):
        with pytest.raises(SettingsError, match=r"\[data\] directory .* is a file"):
            load(environment={"HEADRACE_DATA_DIRECTORY": str(tmp_path / directory)})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, environment={})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[credit]\nrule = 'nope:nope'\n", "[credit] rule"),
        ("[credit]\nrule = 'broken:rule'\n", "[credit] rule"),
        ("[trainer]\ngroup_size = 0\n", "[trainer] group_size"),
    ],
)
def test_up_refuses_before_it_starts_anything(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text(text)
    (tmp_path / "broken.py").write_text("raise RuntimeError('as it is imported')\n")
    done = subprocess.run(
        [sys.executable, "-m", "headrace.infra.cli", "up"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".headrace").exists()


@pytest.mark.parametrize(
    "text",
    [
        '[kafka]\nbootstrap = "me:hush@k:9092,k:9092"',
        '[kafka]\nsasl_password = ["hush"]',
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_password = "hush"',
        '[registry]\nurl = "https://me:hush@r"',
        '[registry]\npassword = "hush"',
        '[clickhouse]\nurl = "https://me:hush@c:8443"',
        '[gateway]\nhost = "0.0.0.0"\nkeys = "hush"\nproject_keys = ["hush"]',
        '[privacy]\nreplace_by = "pseudonym"\npseudonym_key = "hush"',
    ],
)
def test_a_refusal_names_the_key_and_shows_no_secret(tmp_path: Path, text: str) -> None:
    told = refusal(tmp_path, text)
    assert KEY.search(told)
    assert "hush" not in told
