"""The command line under locales that are not UTF-8."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = "Zürich 🦦"
SHELLS = [
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"},
]


def headrace(*words: str, folder: Path, shell: dict[str, str], stdin: bytes = b"") -> "Done":
    done = subprocess.run(
        [sys.executable, "-P", "-m", "headrace.infra.cli", *map(os.fsencode, words)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "200", **shell},
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return done


Done = subprocess.CompletedProcess[bytes]


@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_words_are_utf8_and_what_cannot_be_shown_is_replaced(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    (tmp_path / f"{TEXT}.jsonl").mkdir()
    done = headrace("tasks", f"{TEXT}.jsonl", folder=tmp_path, shell=shell)
    assert done.returncode == 2
    encoding = shell.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    said = done.stderr.decode(encoding)
    assert "rich" in said
    assert "cannot be read: Is a directory" in said


@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_status_in_a_folder_of_that_name(tmp_path: Path, shell: dict[str, str]) -> None:
    folder = tmp_path / TEXT
    folder.mkdir()
    exact = headrace("status", "--json", folder=folder, shell=shell)
    assert exact.returncode == 3
    assert json.loads(exact.stdout)["parts"] == []


def test_a_query_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    for words, stdin in (("SELECT '\udcff'", b""), ("-", b"SELECT '\xff'")):
        done = headrace("sql", words, folder=tmp_path, shell={"LC_ALL": "C.UTF-8"}, stdin=stdin)
        assert done.returncode == 2
        assert b"not UTF-8" in done.stderr
