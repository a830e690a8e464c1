"""`python -m headrace.connectors.gateway`."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from headrace.connectors.engines import EngineError
from headrace.connectors.gateway.config import config_from_environment
from headrace.connectors.gateway.errors import ConfigurationError
from headrace.connectors.gateway.run import serve
from headrace.connectors.settings import BadSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gateway until it is told to stop; 2: it cannot start as it is configured."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each schema asked for
    try:
        config = config_from_environment(os.environ, sys.argv[1:] if argv is None else argv)
        asyncio.run(serve(config))
    except (BadSettings, ConfigurationError, EngineError) as error:
        logging.getLogger(__name__).critical("the gateway cannot start: %s", error)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
