"""Content-Encoding of request and response bodies."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import brotli
import lz4.frame
import zstandard

from headrace.infra.embedded.clickhouse import native
from headrace.infra.embedded.clickhouse.errors import (
    BAD_ARGUMENTS,
    CANNOT_DECOMPRESS,
    QueryError,
)

_DAMAGED = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, RuntimeError)


class BodyDecoder(Protocol):
    """Decodes a body fed in pieces; `finish` raises QueryError 271 if it is cut short."""

    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class Encoder(Protocol):
    """Encodes a body in pieces; whatever `feed` got can be decoded once `finish` is sent."""

    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class Plain:
    """No encoding, in both directions."""

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class FrameDecoder:
    """Frames one after another, as clients send them (clickhouse-connect's lz4: one a block).

    Args:
        fresh: makes a decompressor with `decompress`, `eof` and `unused_data`, good for one frame.
    """

    def __init__(self, fresh: Callable[[], Any]) -> None:
        self._fresh = fresh
        self._frame: Any = None

    def feed(self, data: bytes) -> bytes:
        out = []
        while data:
            if self._frame is None:
                self._frame = self._fresh()
            try:
                out.append(self._frame.decompress(data))
            except (
                zlib.error,
                zstandard.ZstdError,
                lzma.LZMAError,
                OSError,
                RuntimeError,
            ) as error:
                raise _broken(str(error)) from error
            data = b""
            if self._frame.eof:
                data = self._frame.unused_data or b""
                self._frame = None
        return b"".join(out)

    def finish(self) -> bytes:
        if self._frame is not None:
            raise _broken("the body ends inside a frame")
        return b""


class BrotliDecoder:
    """One brotli stream (the format has no frames to concatenate)."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self._fed = False

    def feed(self, data: bytes) -> bytes:
        self._fed = self._fed or bool(data)
        try:
            return bytes(self._stream.process(data))
        except brotli.error as error:
            raise _broken(str(error)) from error

    def finish(self) -> bytes:
        if self._fed and not self._stream.is_finished():
            raise _broken("the body ends inside a brotli stream")
        return b""


class _StreamEncoder:
    """zlib and zstandard: `compress` and `flush`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def feed(self, data: bytes) -> bytes:
        return bytes(self._stream.compress(data))

    def finish(self) -> bytes:
        return bytes(self._stream.flush())


class _BrotliEncoder:
    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=4)

    def feed(self, data: bytes) -> bytes:
        return bytes(self._stream.process(data))

    def finish(self) -> bytes:
        return bytes(self._stream.finish())


class _Lz4Encoder:
    def __init__(self) -> None:
        self._stream = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        lead = b"" if self._begun else bytes(self._stream.begin())
        self._begun = True
        return lead + bytes(self._stream.compress(data))

    def finish(self) -> bytes:
        return self.feed(b"") + bytes(self._stream.flush())


class NativeEncoder:
    """`compress=1`: ClickHouse's own blocks."""

    def feed(self, data: bytes) -> bytes:
        return native.pack(data)

    def finish(self) -> bytes:
        return b""


_DECODERS: dict[str, Callable[[], BodyDecoder]] = {
    "": Plain,
    "identity": Plain,
    "gzip": lambda: FrameDecoder(lambda: zlib.decompressobj(31)),
    "deflate": lambda: FrameDecoder(zlib.decompressobj),
    "zstd": lambda: FrameDecoder(lambda: zstandard.ZstdDecompressor().decompressobj()),
    "lz4": lambda: FrameDecoder(lz4.frame.LZ4FrameDecompressor),
    "br": BrotliDecoder,
    "bz2": lambda: FrameDecoder(bz2.BZ2Decompressor),
    "xz": lambda: FrameDecoder(lzma.LZMADecompressor),
}

# In the order of preference where a client accepts several.
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "zstd": lambda: _StreamEncoder(zstandard.ZstdCompressor(level=1).compressobj()),
    "lz4": _Lz4Encoder,
    "gzip": lambda: _StreamEncoder(zlib.compressobj(3, wbits=31)),
    "deflate": lambda: _StreamEncoder(zlib.compressobj(3)),
    "br": _BrotliEncoder,
}


def decoder(content_encoding: str) -> BodyDecoder:
    """The decoder of a Content-Encoding header.

    Raises:
        QueryError: 36 for an encoding that is none of those known.
    """
    name = content_encoding.strip().lower()
    if name not in _DECODERS:
        known = ", ".join(sorted(filter(None, _DECODERS)))
        raise QueryError(
            BAD_ARGUMENTS, f"Unknown Content-Encoding {name!r}: use one of {known}. (BAD_ARGUMENTS)"
        )
    return _DECODERS[name]()


def choose(accept_encoding: str) -> str | None:
    """The response's Content-Encoding for an Accept-Encoding header, None for none."""
    accepted = _accepted(accept_encoding.lower().split(","))
    return next((name for name in _ENCODERS if name in accepted), None)


def encoder(name: str) -> Encoder:
    """The encoder of a Content-Encoding that `choose` returned."""
    return _ENCODERS[name]()


def _accepted(entries: Sequence[str]) -> frozenset[str]:
    names = set()
    for entry in entries:
        name, _, weight = entry.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0"):
            names.add(name.strip())
    return frozenset(names)


def _broken(reason: str) -> QueryError:
    return QueryError(CANNOT_DECOMPRESS, f"Cannot decompress the body: {reason}.")
