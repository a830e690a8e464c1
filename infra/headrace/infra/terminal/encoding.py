"""UTF-8 in and out, whatever the locale of the shell is."""

import os
import sys
from io import TextIOWrapper


def speak_utf8() -> None:
    """Make arguments, files and paths UTF-8, and replace what the terminal cannot show.

    Python decodes the command line before any of ours runs, so under a locale of another encoding
    this process starts itself again in Python's UTF-8 mode, which its children inherit.
    """
    asked = os.environ.get("PYTHONUTF8") == "1"  # and ignored (`python -E`): once is enough
    if sys.getfilesystemencoding().lower() != "utf-8" and not asked:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONUTF8": "1"})
    sys.argv = [os.fsencode(word).decode("utf-8", "surrogateescape") for word in sys.argv]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def read_stdin() -> str:
    """Standard input as UTF-8.

    Raises:
        UnicodeDecodeError: it is something else.
    """
    return sys.stdin.buffer.read().decode("utf-8")
