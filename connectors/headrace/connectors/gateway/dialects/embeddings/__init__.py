"""OpenAI's API of embeddings: POST /v1/embeddings."""
