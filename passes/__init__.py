"""Passes over the IR: what a pass, a pattern and a pipeline are, and the passes themselves.

One file is one pass; `find_pass` and `all_passes` look through the folder.
"""

from .core import EXACT as EXACT
from .core import Callback as Callback
from .core import Check as Check
from .core import Contract as Contract
from .core import Difference as Difference
from .core import NamedPipeline as NamedPipeline
from .core import Option as Option
from .core import Pass as Pass
from .core import Pattern as Pattern
from .core import Phase as Phase
from .core import Pipeline as Pipeline
from .core import Recorded as Recorded
from .core import Recording as Recording
from .core import Sample as Sample
from .core import all_passes as all_passes
from .core import blocks as blocks
from .core import compare as compare
from .core import erase_dead as erase_dead
from .core import find_ops as find_ops
from .core import find_pass as find_pass
from .core import find_pipeline as find_pipeline
from .core import first_divergence as first_divergence
from .core import has_uses as has_uses
from .core import hoist_weights as hoist_weights
from .core import is_pure as is_pure
from .core import is_used as is_used
from .core import list_passes as list_passes
from .core import list_pipelines as list_pipelines
from .core import lossy as lossy
from .core import only_user as only_user
from .core import ops_of as ops_of
from .core import option as option
from .core import options_of as options_of
from .core import parse_pipeline as parse_pipeline
from .core import pass_help as pass_help
from .core import pattern as pattern
from .core import pipelines as pipelines
from .core import producer as producer
from .core import random_sample as random_sample
from .core import random_weights as random_weights
from .core import read_instead as read_instead
from .core import record as record
from .core import relative_error as relative_error
from .core import replace as replace
from .core import rewrite as rewrite
from .core import rounding as rounding
from .core import step_block as step_block
from .core import users as users
from .core import verify_pass as verify_pass
from .core import verifying as verifying
from .decompose import decompose_unknown as decompose_unknown
from .outline import Unraised as Unraised
from .outline import unraised as unraised
