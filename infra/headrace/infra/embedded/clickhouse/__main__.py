"""`python -m headrace.infra.embedded.clickhouse --path DIR --port 8123`."""

import argparse
import logging
import os
import sys
from pathlib import Path

from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.errors import StartError

PASSWORD_VARIABLE = "HEADRACE_CLICKHOUSE_PASSWORD"
EXIT_CANNOT_START = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs the server; returns 2, with the reason on stderr, if it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        config = _config(_parser().parse_args(arguments))
        from headrace.infra.embedded.clickhouse.run import serve  # loads uvicorn

        serve(config)
    except (StartError, ValueError) as error:
        sys.stderr.write(f"cannot start: {error}\n")
        return EXIT_CANNOT_START
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m headrace.infra.embedded.clickhouse",
        description="The ClickHouse engine behind its HTTP interface; one process owns the folder.",
    )
    parser.add_argument("--path", type=Path, required=True, help="folder of the data")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--database", default="headrace", help="created if absent")
    parser.add_argument(
        "--password-file",
        type=Path,
        help=f"file with the password of user `default` (or environment {PASSWORD_VARIABLE})",
    )
    parser.add_argument("--memory-bytes", type=int, default=2_000_000_000)
    parser.add_argument("--max-request-bytes", type=int, default=2 << 30)
    parser.add_argument("--threads", type=int, default=16)
    return parser


def _config(options: argparse.Namespace) -> ServerConfig:
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if options.password_file is not None:
        try:
            password = options.password_file.read_text().strip()
        except OSError as error:
            raise StartError(
                f"--password-file {options.password_file}: {error.strerror}"
            ) from error
        if not password:
            raise StartError(f"--password-file {options.password_file} is empty")
    # The engine cuts a path at `?` and `&`, so it is given one from inside the folder.
    options.path.mkdir(parents=True, exist_ok=True)
    os.chdir(options.path)
    return ServerConfig(
        path=Path(),
        host=options.host,
        port=options.port,
        database=options.database,
        password=password,
        memory_bytes=options.memory_bytes,
        max_request_bytes=options.max_request_bytes,
        threads=options.threads,
    )


if __name__ == "__main__":
    sys.exit(main())
