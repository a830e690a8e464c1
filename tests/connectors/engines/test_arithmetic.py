"""The number format of engine and trainer: from the processor, and one for both."""

import subprocess
import sys
from pathlib import Path

import pytest

from headrace.connectors.engines.arithmetic import CPUINFO, choose, parse_flags
from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.gateway.config import config_from_environment as gateway_config
from headrace.connectors.settings import BadSettings
from headrace.trainer.config import config_from_environment as trainer_config

ZEN4 = frozenset({"avx2", "avx512f", "avx512_bf16"})
HASWELL = frozenset({"avx2", "fma"})
ALONE = {
    "HEADRACE_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "HEADRACE_REGISTRY_URL": "http://127.0.0.1:8081",
    "HEADRACE_CHECKPOINT_DIRECTORY": "checkpoints",
    "HEADRACE_POLICY_NAME": "p",
}


@pytest.mark.parametrize(
    ("flags", "dtype", "reason"),
    [
        (HASWELL, "float32", "no bf16 products"),
        (frozenset({"avx2", "avx512f", "avx512_vnni"}), "float32", "no bf16 products"),
        (frozenset(), "float32", "no CPU flags"),
        (ZEN4, "bfloat16", "avx512_bf16"),
        (ZEN4 | {"amx_bf16"}, "bfloat16", "amx_bf16"),
        (frozenset({"asimd", "bf16"}), "bfloat16", "has bf16"),
    ],
)
def test_auto_is_what_the_processor_does_fast(
    flags: frozenset[str], dtype: str, reason: str
) -> None:
    chosen = choose(flags=flags, environment={})
    assert chosen.dtype == dtype
    assert reason in chosen.reason


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "dtype"),
    [
        ("AVX2", "float32"),
        ("avx512_core", "float32"),
        ("AVX512_CORE_BF16", "bfloat16"),
        ("ALL", "bfloat16"),
        ("", "bfloat16"),
    ],
)
def test_a_limit_on_onednn_takes_bf16_away(name: str, limit: str, dtype: str) -> None:
    chosen = choose(flags=ZEN4, environment={name: limit})
    assert chosen.dtype == dtype
    assert dtype == "bfloat16" or name in chosen.reason


def test_a_setting_is_obeyed_on_any_processor() -> None:
    assert choose("bfloat16", flags=HASWELL, environment={}).dtype == "bfloat16"
    assert choose("float32", flags=ZEN4, environment={}).dtype == "float32"
    assert "[policy] dtype" in choose("float32", device="cuda").reason


def test_a_gpu_takes_bf16_whatever_the_cpu() -> None:
    assert choose(device="cuda:0", flags=HASWELL, environment={}).dtype == "bfloat16"


def test_what_is_no_format_is_refused_with_the_settings_name() -> None:
    for text in ("float16", "fp32", "", "AUTO"):
        with pytest.raises(BadSettings, match=r"\[policy\] dtype"):
            PolicySettings(dtype=text)  # type: ignore[arg-type]  # that is the test


def test_flags_are_those_that_every_core_has() -> None:
    x86 = "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu avx2\n"
    assert parse_flags(x86) == {"fpu", "avx2"}
    assert parse_flags("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n") >= {"bf16"}
    assert parse_flags("vendor: none\n") == frozenset()


@pytest.mark.skipif(not CPUINFO.exists(), reason="Linux alone tells the flags so")
def test_this_machine_has_flags() -> None:
    assert parse_flags(CPUINFO.read_text())


@pytest.mark.parametrize("setting", [None, "auto", "bfloat16", "float32"])
@pytest.mark.parametrize("limit", [None, "AVX2", "AVX512_CORE_BF16"])
def test_engine_and_trainer_never_disagree(
    setting: str | None, limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each started by itself, from its own environment; `headrace up` is tested in infra.
    for name, value in (("HEADRACE_POLICY_DTYPE", setting), ("ONEDNN_MAX_CPU_ISA", limit)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    environment = ALONE if setting is None else {**ALONE, "HEADRACE_POLICY_DTYPE": setting}
    engine = gateway_config(environment, ["--model-directory", "m"]).arithmetic
    trainer = trainer_config(Path("m"), environment).arithmetic
    assert engine == trainer
    assert setting in (None, "auto", engine.dtype)


def test_both_refuse_what_is_no_format() -> None:
    wrong = {**ALONE, "HEADRACE_POLICY_DTYPE": "float16"}
    with pytest.raises(BadSettings, match="HEADRACE_POLICY_DTYPE"):
        gateway_config(wrong, ["--model-directory", "m"])
    with pytest.raises(BadSettings, match="HEADRACE_POLICY_DTYPE"):
        trainer_config(Path("m"), wrong)


def test_the_gateways_old_variable_is_refused_with_the_new_ones_name() -> None:
    with pytest.raises(BadSettings, match="HEADRACE_POLICY_DTYPE"):
        gateway_config({"HEADRACE_GATEWAY_DTYPE": "float32"}, ["--model-directory", "m"])


def test_the_choice_imports_no_torch() -> None:
    code = (
        "import sys, headrace.connectors.engines.arithmetic as a\n"
        "a.choose()\n"
        "assert not {'torch', 'transformers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
