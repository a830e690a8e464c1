"""Request and response bodies: encodings, native blocks, forms, bounds."""

import asyncio
import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, MutableMapping
from typing import Any

import brotli
import lz4.frame
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata

from headrace.infra.embedded.clickhouse import codings, formats, native
from headrace.infra.embedded.clickhouse.body import Body, Receive
from headrace.infra.embedded.clickhouse.errors import Disconnected, QueryError
from headrace.infra.embedded.clickhouse.multipart import parts

FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def decoded(decoder: codings.BodyDecoder, pieces: list[bytes]) -> bytes:
    return b"".join(decoder.feed(piece) for piece in pieces) + decoder.finish()


@pytest.mark.parametrize("name", sorted(FRAMES))
@given(blocks=st.lists(st.binary(max_size=300), min_size=1, max_size=4), size=st.integers(1, 64))
def test_concatenated_frames_decode_in_any_pieces(
    name: str, blocks: list[bytes], size: int
) -> None:
    wire = b"".join(FRAMES[name](block) for block in blocks)
    assert decoded(codings.decoder(name), cut(wire, size)) == b"".join(blocks)


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_a_body_cut_short_is_an_error(name: str) -> None:
    wire = FRAMES[name](b"0123456789" * 100)
    with pytest.raises(QueryError, match="271"):
        decoded(codings.decoder(name), [wire[:-5]])


@pytest.mark.parametrize("name", [*sorted(FRAMES), "br"])
def test_a_body_that_is_not_encoded_so_is_an_error(name: str) -> None:
    with pytest.raises(QueryError, match="271"):
        decoded(codings.decoder(name), [b"plain text, not compressed at all" * 10])


def test_brotli_both_ways() -> None:
    assert decoded(codings.decoder("br"), cut(brotli.compress(b"abc" * 99), 3)) == b"abc" * 99
    with pytest.raises(QueryError, match="271"):
        decoded(codings.decoder("br"), [brotli.compress(b"abc" * 99)[:-2]])


def test_an_unknown_encoding_names_the_known_ones() -> None:
    with pytest.raises(QueryError, match=r"snappy.*gzip"):
        codings.decoder("snappy")


@pytest.mark.parametrize("name", ["zstd", "lz4", "gzip", "deflate", "br"])
@given(chunks=st.lists(st.binary(max_size=200), max_size=5))
def test_what_is_encoded_decodes(name: str, chunks: list[bytes]) -> None:
    encoder = codings.encoder(name)
    wire = b"".join(encoder.feed(chunk) for chunk in chunks) + encoder.finish()
    assert decoded(codings.decoder(name), [wire]) == b"".join(chunks)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("gzip, deflate", "gzip"),
        ("gzip, zstd;q=0.5", "zstd"),
        ("zstd;q=0, br", "br"),
        ("identity", None),
        ("", None),
    ],
)
def test_choice_of_the_response_encoding(header: str, chosen: str | None) -> None:
    assert codings.choose(header) == chosen


@given(blocks=st.lists(st.binary(max_size=300), max_size=4), size=st.integers(1, 64))
def test_native_blocks_decode_in_any_pieces(blocks: list[bytes], size: int) -> None:
    wire = b"".join(native.pack(block) for block in blocks)
    assert decoded(native.NativeDecoder(), cut(wire, size)) == b"".join(blocks)


def test_large_native_output_is_several_blocks() -> None:
    data = bytes(range(256)) * (native.BLOCK_BYTES // 128)
    assert decoded(native.NativeDecoder(), [native.pack(data)]) == data


@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_flipped_bit_in_a_native_block_is_found(data: bytes, draw: st.DataObject) -> None:
    wire = bytearray(native.pack(data))
    wire[draw.draw(st.integers(0, len(wire) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(QueryError, match="271"):
        decoded(native.NativeDecoder(), [bytes(wire)])


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.binary(max_size=99)))
def test_forms_give_back_their_parts(files: dict[str, bytes]) -> None:
    fields: dict[str, Any] = {name: (f"{name}.csv", data) for name, data in files.items()}
    body, content_type = encode_multipart_formdata({**fields, "query": "SELECT 1"})
    found = parts(body, content_type)
    assert {part.name: part.data for part in found if part.is_file} == {
        name: data for name, data in files.items() if name != "query"
    }
    assert [part.data for part in found if not part.is_file] == [b"SELECT 1"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"--x\r\n", "multipart/form-data"), (b"--x\r\n\r\n", "multipart/form-data; boundary=x")],
)
def test_malformed_forms_are_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(QueryError, match="Malformed"):
        parts(body, content_type)


def test_arrow_blocks_become_one_stream() -> None:
    tables = [pa.table({"a": [1, 2], "s": ["x", None]}), pa.table({"a": [3], "s": ["z"]})]
    joiner = formats.blocks("ArrowStream")
    assert joiner is not None
    wire = b""
    for table in tables:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        wire += joiner.join(sink.getvalue().to_pybytes())
    read = pa.ipc.open_stream(wire + joiner.end()).read_all()
    assert read.to_pylist() == pa.concat_tables(tables).to_pylist()


def receiver(*messages: MutableMapping[str, Any]) -> Receive:
    waiting = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    return receive


def piece(data: bytes, *, more: bool) -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


def test_a_body_is_read_in_pieces_of_at_least_the_size() -> None:
    async def read() -> list[bytes]:
        body = Body(receiver(*[piece(b"abc", more=n < 3) for n in range(4)]), limit=100)
        return [await body.read(4), await body.read(4), await body.read(4)]

    assert asyncio.run(read()) == [b"abcabc", b"abcabc", b""]


def test_a_body_over_the_limit_is_refused_even_if_it_was_small_on_the_wire() -> None:
    async def read() -> None:
        body = Body(receiver(piece(gzip.compress(bytes(10_000)), more=False)), limit=999)
        body.decode_with(codings.decoder("gzip"))
        await body.read(1 << 20)

    with pytest.raises(QueryError, match="307"):
        asyncio.run(read())


def test_a_client_that_leaves_before_the_end_is_noticed() -> None:
    async def read() -> None:
        await Body(receiver(piece(b"abc", more=True)), limit=100).read(10)

    with pytest.raises(Disconnected):
        asyncio.run(read())
