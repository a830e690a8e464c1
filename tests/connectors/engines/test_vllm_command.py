"""A vLLM server of the gateway's own: its command, its start and its end, with a stand-in."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.connectors.engines import EngineUnavailable, InvalidWeights
from headrace.connectors.engines.vllm.checkpoint import inside
from headrace.connectors.engines.vllm.child import ChildConfig, command_of, running_server
from headrace.connectors.engines.vllm.command import Serving, arguments, environment
from tests.support.waiting import wait_until_async

STAND_IN = """#!{python}
import http.server, pathlib, sys
pathlib.Path({told!r}).write_text("\\n".join(sys.argv[1:]))
if {fails!r}:
    sys.exit(3)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def stand_in(folder: Path, *, fails: bool = False) -> Path:
    """An interpreter that answers /health whatever it is to run, or ends with 3."""
    program = folder / "python"
    told = str(folder / "told")
    program.write_text(STAND_IN.format(python=sys.executable, told=told, fails=fails))
    program.chmod(0o755)
    return program


def config(command: str, folder: Path) -> ChildConfig:
    return ChildConfig(
        command=command,
        model=folder / "model",
        roots=(folder / "checkpoints",),
        dtype="float32",
        max_batch=7,
    )


def test_a_server_is_started_waited_for_and_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        ended: list[int] = []
        command = f"{stand_in(tmp_path)} -- --enforce-eager"
        async with running_server(config(command, tmp_path), ended.append) as url:
            assert url.startswith("http://127.0.0.1:")
            assert not ended
        assert not ended, "a server that is stopped did not end by itself"
        told = (tmp_path / "told").read_text().split("\n")
        assert told[:3] == ["-m", "headrace.connectors.engines.vllm.serve", str(tmp_path / "model")]
        assert told[-2:] == ["--", "--enforce-eager"]
        assert told[told.index("--parent") + 1] == str(os.getpid())
        assert told[told.index("--root") + 1] == str(tmp_path / "checkpoints")

    asyncio.run(main())


def test_a_server_that_ends_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        ended: list[int] = []
        failing = config(str(stand_in(tmp_path, fails=True)), tmp_path)
        with pytest.raises(EngineUnavailable, match="ended with 3"):
            async with running_server(failing, ended.append):
                pass
        await wait_until_async(lambda: ended == [3], "the end to be told")

    asyncio.run(main())


def test_without_vllm_it_is_said_what_to_do(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(EngineUnavailable, match="make vllm"):
            async with running_server(config("/nowhere/python", tmp_path), print):
                pass

    asyncio.run(main())
    with pytest.raises(EngineUnavailable, match="no interpreter"):
        command_of(config("-- --flag", tmp_path), 1)


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    module = "headrace.connectors.engines.vllm.serve"
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )


def test_the_launcher_refuses_an_open_address_and_an_interpreter_without_vllm() -> None:
    opened = serve("/model", "--host", "0.0.0.0")
    assert opened.returncode == 1
    assert "--trust-network" in opened.stderr
    without = serve("/model")
    assert without.returncode == 1
    assert "make vllm" in without.stderr


def test_the_servers_own_command_and_environment() -> None:
    serving = Serving(model=Path("/m"), roots=(Path("/a"), Path("/b")), dtype="float32")
    words = arguments(serving, ["--enforce-eager"])
    assert words[words.index("--logprobs-mode") + 1] == "processed_logprobs"
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert json.loads(words[words.index("--weight-transfer-config") + 1]) == {
        "backend": "headrace_folder"
    }
    assert words[-1] == "--enforce-eager"
    made = environment(serving, {"VLLM_CPU_KVCACHE_SPACE": "9", "HEADRACE_VLLM_ROOT": "/"})
    assert made["HEADRACE_VLLM_ROOT"] == "/a:/b", "who starts the server sets the roots"
    assert made["VLLM_CPU_KVCACHE_SPACE"] == "9"


def test_a_link_out_of_the_root_is_outside(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "root-beside"
    (root / "1").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside)
    assert inside(root / "1", [root]) == (root / "1").resolve()
    for path in (outside, root / "link", root / ".." / "root-beside"):
        with pytest.raises(InvalidWeights, match="outside"):
            inside(path, [root])
