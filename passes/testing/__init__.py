"""What the tests of a pass need: assertions, and random modules to run it on.

    from . import assert_contract, assert_equivalent, assert_pass

pytest offers the three as fixtures of the same names: `ingot.pytest_plugin`.
"""

from .assertions import Draw as Draw
from .assertions import assert_contract as assert_contract
from .assertions import assert_equivalent as assert_equivalent
from .assertions import assert_pass as assert_pass
from .drawing import Choose as Choose
from .random_modules import random_lengths as random_lengths
from .random_modules import random_module as random_module
