"""`python -m headrace.infra.console`: the part of `headrace up`, or of a pod."""

import sys

from headrace.infra.console.serve import serve
from headrace.infra.settings import load


def main() -> int:
    """Serve the pages where the settings say; 1: the port cannot be had."""
    settings = load()
    port = settings.console.port
    try:
        serve(settings, port, lambda url: print(f"console: {url}", flush=True))
    except OSError as error:
        print(f"port {port}: {error.strerror}. [console] port is another", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
