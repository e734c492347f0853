"""Text in and out of a model: tokenizer, chat template, streams of text, generation defaults."""

from .chat_template import ChatTemplate, Message, load_chat_template
from .generation_config import GenerationDefaults, read_generation_config
from .model_text import ModelText, Prompt
from .stop import StopMatcher
from .stream import Detokenizer, TextStream
from .tokenizer import Tokenizer

__all__ = [
    "ChatTemplate",
    "Detokenizer",
    "GenerationDefaults",
    "Message",
    "ModelText",
    "Prompt",
    "StopMatcher",
    "TextStream",
    "Tokenizer",
    "load_chat_template",
    "read_generation_config",
]
