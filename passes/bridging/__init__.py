"""What raising and outlining know of the torch dialect: constants, shapes, crossing to `lm`."""

from .constants import integer as integer
from .constants import integers as integers
from .constants import is_none as is_none
from .constants import is_number as is_number
from .constants import items as items
from .constants import number as number
from .constants import text as text
from .crossing import as_torch as as_torch
from .crossing import constant as constant
from .crossing import indices as indices
from .crossing import peel as peel
from .crossing import regrouped as regrouped
from .crossing import same as same
from .crossing import viewed as viewed
from .crossing import weight as weight
from .normalising import centred as centred
from .normalising import normed_by as normed_by
from .opaque import batch_of as batch_of
from .opaque import is_opaque as is_opaque
from .shapes import Arrangement as Arrangement
from .shapes import TorchTensor as TorchTensor
from .shapes import arrangement as arrangement
from .shapes import heads as heads
from .shapes import shape as shape
from .shapes import torch_tensor as torch_tensor
from .token_rules import mixes_tokens as mixes_tokens
