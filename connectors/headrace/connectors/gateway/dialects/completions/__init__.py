"""OpenAI's API of plain completions: POST /v1/completions."""
