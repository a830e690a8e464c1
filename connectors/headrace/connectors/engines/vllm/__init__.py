"""vLLM as an engine: a client of its server, and what runs inside its workers."""
