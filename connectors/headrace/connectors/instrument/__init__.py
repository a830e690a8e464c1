"""Agents of any framework, seen from inside with no change to their code: `headrace run`.

This is the side of the agent's processes; who started them is `connectors/commands`. Both share a
folder, the attempt's journals. Python finds `site/sitecustomize.py` by PYTHONPATH; it waits until a
framework is imported and only then switches its spans on. Each span is appended to a journal with
one write when it starts and one when it ends, so it outlives its process however that ends.

Nothing here imports the SDK, numpy or OpenTelemetry by itself: an agent's process pays for what it
uses.
"""
