"""How modules are divided over the devices of a mesh: rules of operations, strategy, programs.

`rules/` holds a file for each kind of operation, `strategy/` what is divided and along which axis.
"""

from .program import write_program as write_program
from .propagation import propagate as propagate
from .strategy import choose_shardings as choose_shardings
