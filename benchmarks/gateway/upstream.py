"""A server without model or gateway: what a proxy in front of it adds is the proxy's own.

`python -m benchmarks.gateway.upstream --port 24002` answers every chat completion with one text,
whole or as one event a token.
"""

import argparse
import asyncio
import json

_HEAD = {"id": "chatcmpl-0", "created": 0, "model": "bench"}


def answers(tokens: int) -> tuple[bytes, bytes]:
    """A whole answer and a streamed one, as they go over the wire."""
    text = "x" * tokens
    usage = {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    body = json.dumps(
        {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}
    ).encode()
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    deltas = [{"role": "assistant", "content": ""}, *({"content": "x"} for _ in range(tokens)), {}]
    events = [_event(delta, last=number == len(deltas) - 1) for number, delta in enumerate(deltas)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in [*events, b"data: [DONE]\n\n"])
    streamed = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )
    return whole, streamed


def _event(delta: dict[str, str], *, last: bool) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if last else None}
    chunk = {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: %s\n\n" % json.dumps(chunk).encode()


async def serve(port: int, tokens: int) -> None:
    """Serve until killed."""
    whole, streamed = answers(tokens)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(size))
                writer.write(streamed if body.get("stream") else whole)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.tokens))
