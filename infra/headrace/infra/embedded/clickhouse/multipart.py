"""multipart/form-data: bind parameters as fields, external tables as files."""

import re
from dataclasses import dataclass

from headrace.infra.embedded.clickhouse.errors import BAD_ARGUMENTS, QueryError

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(r'[; ]name="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(r"[; ]filename\*?=", re.IGNORECASE)


@dataclass(kw_only=True, slots=True, frozen=True)
class FormPart:
    """One part of a form; with a file name it is the data of an external table."""

    name: str
    data: bytes
    is_file: bool


def parts(body: bytes, content_type: str) -> list[FormPart]:
    """Splits a form.

    Raises:
        QueryError: 36 if the boundary, a name or the end is missing.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise _malformed("the Content-Type has no boundary")
    mark = b"--" + boundary[1].encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise _malformed("the closing boundary is missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> FormPart:
    head, gap, data = piece.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split("\r\n")
    disposition = next((x for x in lines if x.lower().startswith("content-disposition:")), "")
    name = _NAME.search(disposition)
    if not gap or name is None:
        raise _malformed("a part has no name")
    return FormPart(name=name[1], data=data, is_file=bool(_FILE.search(disposition)))


def _malformed(reason: str) -> QueryError:
    return QueryError(BAD_ARGUMENTS, f"Malformed multipart/form-data: {reason}. (BAD_ARGUMENTS)")
