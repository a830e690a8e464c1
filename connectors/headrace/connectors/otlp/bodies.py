"""Bodies as they are sent: compressed, and bounded after inflating. Pure."""

import zlib

from headrace.connectors.otlp.errors import BadRequest, TooLarge, Unsupported

_GZIP, _ZLIB, _RAW = 31, 15, -15
CODINGS = ("gzip", "deflate", "identity")


def inflated(body: bytes, coding: str, most: int) -> bytes:
    """A body without its content coding.

    Raises:
        Unsupported: another coding than gzip and deflate.
        TooLarge: more than `most` bytes; no more than these are inflated.
        BadRequest: it is not what the coding says.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return _bounded(body, most)
    try:
        if coding == "gzip":
            return _inflate(body, _GZIP, most)
        if coding == "deflate":
            return _inflate(body, _ZLIB if _has_zlib_header(body) else _RAW, most)
    except zlib.error as error:
        raise BadRequest(f"the body is not {coding}: {error}") from error
    raise Unsupported(f"Content-Encoding {coding[:40]!r}: send one of {', '.join(CODINGS)}")


def _inflate(body: bytes, window: int, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:
        one = zlib.decompressobj(window)
        part = one.decompress(body, most + 1 - size)
        size += len(part)
        parts.append(part)
        if size > most:
            raise _too_large(most)
        if not one.eof:
            raise BadRequest("the compressed body ends before its end")
        body = one.unused_data  # gzip may have several members
        if window != _GZIP and body:
            raise BadRequest(f"{len(body)} bytes follow the compressed body")
    return b"".join(parts)


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _bounded(body: bytes, most: int) -> bytes:
    if len(body) > most:
        raise _too_large(most)
    return body


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"the body holds more than {most} bytes: send smaller batches "
        "(OTEL_BSP_MAX_EXPORT_BATCH_SIZE), or raise [otlp] max_body_bytes"
    )
