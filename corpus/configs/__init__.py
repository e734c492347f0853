"""Small configurations given by hand, where a shrunk default would miss what matters."""

from collections.abc import Mapping
from typing import Any

from .dense import DENSE
from .encoders import ENCODERS as ENCODERS
from .experts import EXPERTS
from .hybrids import HYBRIDS

HAND: Mapping[str, Mapping[str, Any]] = {**DENSE, **EXPERTS, **HYBRIDS}
