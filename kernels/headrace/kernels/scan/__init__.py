"""Scans over packed sequences: advantages, returns, segment sums and means."""

from headrace.kernels.scan.gae import gae, turn_gae
from headrace.kernels.scan.interface import discounted_returns, segment_means, segment_sums

__all__ = ["discounted_returns", "gae", "segment_means", "segment_sums", "turn_gae"]
