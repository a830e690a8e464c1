"""How tools, calls and results are written for a model, and read from what it says. Pure."""

from headrace.connectors.gateway.tools.call_ids import with_ids_of
from headrace.connectors.gateway.tools.formats import (
    FORMATS,
    ToolFormat,
    ToolFormatName,
    format_of,
)
from headrace.connectors.gateway.tools.grammars import NoGrammar, grammar
from headrace.connectors.gateway.tools.parser import Parsed, ReplyParser, parse
from headrace.connectors.gateway.tools.prompting import prompted

__all__ = [
    "FORMATS",
    "NoGrammar",
    "Parsed",
    "ReplyParser",
    "ToolFormat",
    "ToolFormatName",
    "format_of",
    "grammar",
    "parse",
    "prompted",
    "with_ids_of",
]
