"""`python -m headrace.infra.console`: the part of `headrace up`, or of a pod."""

import sys

from headrace.infra.console.serve import serve
from headrace.infra.errors import SettingsError
from headrace.infra.settings import load

REFUSED = 2
"""Exit code: no start will do with these settings."""


def main() -> int:
    """Serve the pages where the settings say; 1: the port cannot be had."""
    try:
        settings = load()
        serve(settings, lambda url: print(f"console: {url}", flush=True))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except OSError as error:
        port = settings.console.port
        print(f"port {port}: {error.strerror}. [console] port is another", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
