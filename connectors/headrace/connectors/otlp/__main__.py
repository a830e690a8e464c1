"""`python -m headrace.connectors.otlp`."""

import asyncio
import logging
import os
import sys

from headrace.connectors.otlp.config import config_from_environment
from headrace.connectors.otlp.errors import ConfigurationError
from headrace.connectors.otlp.run import serve
from headrace.connectors.settings import BadSettings


def main() -> int:
    """Run the receiver until it is told to stop; 2: it cannot start as it is configured."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each schema asked for
    try:
        asyncio.run(serve(config_from_environment(os.environ)))
    except (BadSettings, ConfigurationError) as error:
        logging.getLogger(__name__).critical("the OTLP receiver cannot start: %s", error)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
