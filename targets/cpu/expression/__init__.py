"""The parts of the expression layer; `targets/cpu/build.py` is the door."""
