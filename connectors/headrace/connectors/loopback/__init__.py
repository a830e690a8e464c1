"""This machine alone: its names, no proxy on the way to it, no web page from elsewhere."""

from headrace.connectors.loopback.names import is_loopback, is_loopback_url
from headrace.connectors.loopback.proxies import exempt, with_exemption
from headrace.connectors.loopback.sites import refusal

__all__ = ["exempt", "is_loopback", "is_loopback_url", "refusal", "with_exemption"]
