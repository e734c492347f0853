"""The framework of the passes: what a pass, a pattern and a pipeline are."""

from .base import Pass as Pass
from .blocks import blocks as blocks
from .blocks import ops_of as ops_of
from .blocks import step_block as step_block
from .contract import EXACT as EXACT
from .contract import Contract as Contract
from .contract import lossy as lossy
from .contract import rounding as rounding
from .dead_code import erase_dead as erase_dead
from .dead_code import has_uses as has_uses
from .dead_code import is_pure as is_pure
from .dead_code import is_used as is_used
from .pipeline import Callback as Callback
from .pipeline import Phase as Phase
from .pipeline import Pipeline as Pipeline
from .pipeline import parse_pipeline as parse_pipeline
from .registry import all_passes as all_passes
from .registry import find_pass as find_pass
from .rewrite import Pattern as Pattern
from .rewrite import pattern as pattern
from .rewrite import producer as producer
from .rewrite import replace as replace
from .rewrite import rewrite as rewrite
