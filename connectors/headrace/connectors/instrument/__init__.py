"""Agents of any framework, seen from inside with no change to their code: `headrace run`.

Two sides that share a folder, the attempt's journal:

- The agent's processes (`site/`, `child`, `hooks`, `frameworks`, `provider`, `processor`,
  `processes`, `journal`). Python finds `site/sitecustomize.py` by PYTHONPATH; it waits until a
  framework is imported and only then switches its spans on. Each span is appended to a journal with
  one write when it starts and one when it ends, so it outlives its process however that ends.
- Whoever started them (`environment`, `folder`, `records`, `collector`, `command`): reads the
  journals while the agent runs, maps the spans and hands them to the SDK.

Nothing here imports the SDK, numpy or OpenTelemetry by itself: an agent's process pays for what it
uses.
"""
