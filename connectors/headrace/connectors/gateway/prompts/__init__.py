"""From a conversation to the tokens of its prompt: those that were sampled stay as they were. Pure.

A conversation is text for its client and tokens for the model. Text that was sampled and comes back
in the next request would be cut into other tokens than those that were sampled, and the trainer
would learn about tokens that nobody drew. So an answer that comes back is its tokens again.
"""

from headrace.connectors.gateway.prompts.prompts import Prompt, Prompts
from headrace.connectors.gateway.prompts.rendering import Rendering

__all__ = ["Prompt", "Prompts", "Rendering"]
