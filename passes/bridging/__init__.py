"""What raising and outlining know of the torch dialect: constants, shapes, crossing to `lm`."""

from .constants import integer as integer
from .constants import integers as integers
from .constants import is_none as is_none
from .constants import is_number as is_number
from .constants import items as items
from .constants import number as number
from .constants import text as text
from .crossing import as_torch as as_torch
from .crossing import features as features
from .crossing import indices as indices
from .crossing import peel as peel
from .crossing import same as same
from .crossing import viewed as viewed
from .crossing import weight as weight
from .routing import Router as Router
from .routing import bare as bare
from .routing import match_router as match_router
from .opaque import batch_of as batch_of
from .opaque import is_opaque as is_opaque
from .shapes import Arrangement as Arrangement
from .shapes import TorchTensor as TorchTensor
from .shapes import arrangement as arrangement
from .shapes import heads as heads
from .shapes import shape as shape
from .shapes import torch_tensor as torch_tensor
