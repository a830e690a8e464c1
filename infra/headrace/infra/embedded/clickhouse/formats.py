"""Output formats: which stream, and their Content-Type."""

# Formats whose blocks can be written one after another: no header, no footer, no separator.
_RUNS = frozenset(
    [
        "native",
        "tabseparated",
        "tsv",
        "tabseparatedraw",
        "tsvraw",
        "csv",
        "rowbinary",
        "jsoneachrow",
        "jsonlines",
        "ndjson",
        "jsoncompacteachrow",
        "jsonstringseachrow",
        "lineasstring",
        "tskv",
    ]
)
_CONTENT_TYPES = {
    "json": "application/json; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "tabs": "text/tab-separated-values; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
    "pret": "text/plain; charset=UTF-8",
    "vert": "text/plain; charset=UTF-8",
    "mark": "text/markdown; charset=UTF-8",
}
_LEAD_BYTES = 8  # continuation mark and length of a message
_CONTINUATION = b"\xff\xff\xff\xff"
_END_OF_STREAM = _CONTINUATION + bytes(4)


def content_type(form: str) -> str:
    """The Content-Type of an output format."""
    name = form.lower()
    if name in _CONTENT_TYPES:
        return _CONTENT_TYPES[name]
    if name.startswith("csvwithnames"):
        return "text/csv; charset=UTF-8; header=present"
    for length in (4, 3):
        if name[:length] in _CONTENT_TYPES:
            return _CONTENT_TYPES[name[:length]]
    return "application/octet-stream"


class Blocks:
    """Joins the blocks of a streamed SELECT into one output of the format."""

    def join(self, block: bytes) -> bytes:
        return block

    def end(self) -> bytes:
        return b""


class ArrowBlocks(Blocks):
    """Every block of ArrowStream is a stream of its own: keep the first schema and one end."""

    def __init__(self) -> None:
        self._begun = False

    def join(self, block: bytes) -> bytes:
        block = block.removesuffix(_END_OF_STREAM)
        if not self._begun:
            self._begun = True
            return block
        if block[:4] != _CONTINUATION:
            return block
        return block[_LEAD_BYTES + int.from_bytes(block[4:8], "little") :]

    def end(self) -> bytes:
        return _END_OF_STREAM if self._begun else b""


def blocks(form: str) -> Blocks | None:
    """How the blocks of a format are joined; None if the output must be made in one piece."""
    name = form.lower()
    if name == "arrowstream":
        return ArrowBlocks()
    return Blocks() if name in _RUNS else None
