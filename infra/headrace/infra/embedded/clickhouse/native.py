"""ClickHouse's native compressed blocks (`compress=1`, `decompress=1`).

A block: 16 bytes CityHash128 of what follows, 1 byte method, UInt32 compressed size (the 9 header
bytes included), UInt32 uncompressed size, data. Little-endian; the hash is stored high half first.
"""

import struct

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from headrace.infra.embedded.clickhouse.errors import CANNOT_DECOMPRESS, QueryError

_HASH = struct.Struct("<QQ")
_HEAD = struct.Struct("<BII")
_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90
_LIMIT = 1 << 30
_LOW_HALF = (1 << 64) - 1
BLOCK_BYTES = 1 << 20


def pack(data: bytes) -> bytes:
    """`data` as LZ4 blocks of at most 1 MiB each."""
    blocks = []
    for at in range(0, len(data), BLOCK_BYTES):
        piece = data[at : at + BLOCK_BYTES]
        packed = lz4.block.compress(piece, store_size=False)
        body = _HEAD.pack(_LZ4, len(packed) + _HEAD.size, len(piece)) + packed
        blocks.append(_checksum(body) + body)
    return b"".join(blocks)


class NativeDecoder:
    """Decodes a run of native blocks fed in any pieces.

    Raises:
        QueryError: 271 for a wrong checksum, an unknown method, or data that ends inside a block.
    """

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._held += data
        out = []
        lead = _HASH.size + _HEAD.size
        while len(self._held) >= lead:
            method, size, plain_size = _HEAD.unpack_from(self._held, _HASH.size)
            if size < _HEAD.size or size > _LIMIT or plain_size > _LIMIT:
                raise _broken(f"a block claims {size} bytes for {plain_size}")
            end = _HASH.size + size
            if len(self._held) < end:
                break
            block = bytes(self._held[:end])
            del self._held[:end]
            if _checksum(block[_HASH.size :]) != block[: _HASH.size]:
                raise _broken("the checksum of a block does not match")
            out.append(_unpack(method, block[lead:], plain_size))
        return b"".join(out)

    def finish(self) -> bytes:
        if self._held:
            raise _broken(f"{len(self._held)} bytes are left over after the last whole block")
        return b""


def _checksum(body: bytes) -> bytes:
    value = CityHash128(body)
    return _HASH.pack(value >> 64, value & _LOW_HALF)


def _unpack(method: int, data: bytes, plain_size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(data, uncompressed_size=plain_size))
        if method == _ZSTD:
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=plain_size)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise _broken(str(error)) from error
    if method == _NONE:
        return data
    raise _broken(f"method {method:#x} is none of LZ4 (0x82), ZSTD (0x90) and none (0x02)")


def _broken(reason: str) -> QueryError:
    return QueryError(CANNOT_DECOMPRESS, f"Cannot decompress the body: {reason}.")
