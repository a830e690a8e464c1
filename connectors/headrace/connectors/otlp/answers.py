"""What exporters are answered, in the encoding that they speak. Pure."""

import json
from collections.abc import Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from headrace.connectors.mapping import Refusal

PROTOBUF, JSON = "application/x-protobuf", "application/json"
TYPES = (PROTOBUF, JSON)


def accepted(refused: Mapping[Refusal, int], content_type: str) -> bytes:
    """An ExportTraceServiceResponse; with `partial_success` where spans were refused."""
    total = sum(refused.values())
    if content_type == JSON:
        if not total:
            return b"{}"
        told = {"rejectedSpans": str(total), "errorMessage": _why(refused)}
        return json.dumps({"partialSuccess": told}).encode()
    response = ExportTraceServiceResponse()
    if total:
        response.partial_success.rejected_spans = total
        response.partial_success.error_message = _why(refused)
    return bytes(response.SerializeToString())


def failed(code: int, message: str, content_type: str) -> bytes:
    """A google.rpc.Status."""
    if content_type == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    text = message.encode(errors="replace")
    # Two fields: code = 1 (varint), message = 2 (bytes).
    return bytes([0x08, code, 0x12]) + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _why(refused: Mapping[Refusal, int]) -> str:
    return "; ".join(f"{count} spans: {reason.words}" for reason, count in refused.items())
