"""Asks a gateway over kept-alive connections, with as little work of its own as there can be."""

import asyncio
import json
from dataclasses import dataclass, field
from time import perf_counter

PATH = "/v1/chat/completions"


@dataclass(slots=True)
class Times:
    """Seconds from a request to its first byte of content and to its end, one for each request."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


def request_bytes(*, model: str, prompt: str, max_tokens: int, stream: bool) -> bytes:
    """One chat completion as it goes over the wire."""
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "stream": stream,
        }
    ).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask_for(seconds: float, port: int, request: bytes, connections: int) -> Times:
    """Keep so many requests going for so long.

    Raises:
        RuntimeError: an answer is no success, or a stream did not end as streams do.
    """
    times = Times()
    until = perf_counter() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_keep_asking(until, port, request, times))
    return times


async def _keep_asking(until: float, port: int, request: bytes, times: Times) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (start := perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the gateway answers {head[:200]!r}")
            first = await _read_body(reader, head.lower())
            times.first.append(first - start)
            times.whole.append(perf_counter() - start)
    finally:
        writer.close()
        await writer.wait_closed()


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> float:
    """Read to the end of an answer; when its first part came."""
    if b"content-length:" in head:
        size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        return perf_counter()
    first, last = 0.0, b""
    while (size := int(await reader.readline(), 16)) > 0:
        chunk = await reader.readexactly(size + 2)
        first = first or perf_counter()
        last = chunk
    await reader.readline()
    if b"[DONE]" not in last:
        raise RuntimeError(f"a stream ended with {last[-200:]!r}")
    return first
