"""Recognises how models choose the experts of a token, and weigh them."""

from .routing import Router as Router
from .routing import bare as bare
from .routing import match_router as match_router
