"""What every API's requests and answers mean, in one vocabulary. Pure.

A dialect reads its API's JSON into an `Ask`; a backend turns an `Ask` into events and an `Answer`;
the dialect writes them as its API would.
"""

from headrace.connectors.gateway.conversation.answer import (
    Answer,
    AnswerEvent,
    Choice,
    ChoiceEnded,
    TextGrew,
    TokenFact,
    ToolCallGrew,
    Usage,
    joined,
)
from headrace.connectors.gateway.conversation.ask import Ask
from headrace.connectors.gateway.conversation.messages import (
    Message,
    Tool,
    ToolCall,
    ToolChoice,
    template_messages,
    template_tools,
)

__all__ = [
    "Answer",
    "AnswerEvent",
    "Ask",
    "Choice",
    "ChoiceEnded",
    "Message",
    "TextGrew",
    "TokenFact",
    "Tool",
    "ToolCall",
    "ToolCallGrew",
    "ToolChoice",
    "Usage",
    "joined",
    "template_messages",
    "template_tools",
]
