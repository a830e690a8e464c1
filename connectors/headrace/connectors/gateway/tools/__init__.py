"""How tools, calls and results are written for a model, and read from what it says. Pure."""

from headrace.connectors.gateway.tools.call_ids import with_ids_of
from headrace.connectors.gateway.tools.formats import (
    FORMATS,
    ToolFormat,
    ToolFormatName,
    format_of,
)
from headrace.connectors.gateway.tools.parser import Parsed, ReplyParser, parse
from headrace.connectors.gateway.tools.prompting import forced, prompted

__all__ = [
    "FORMATS",
    "Parsed",
    "ReplyParser",
    "ToolFormat",
    "ToolFormatName",
    "forced",
    "format_of",
    "parse",
    "prompted",
    "with_ids_of",
]
