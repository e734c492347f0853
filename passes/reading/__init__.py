"""Reads what the elements of torch tensors are: features, moved, joined and turned by positions.

Ropes and heads are not matched op by op: every element is followed back to the features that it is
made of, whatever spelling brought it there.
"""

from .arranging import arranged as arranged
from .broadcasting import spread as spread
from .features import features as features
from .features import is_turned as is_turned
from .features import readers as readers
from .features import repeated_indices as repeated_indices
from .features import rotation as rotation
from .features import turns as turns
