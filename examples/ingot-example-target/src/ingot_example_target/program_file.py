"""What the compiler's side and the runtime's must agree on; the runtime loads no compiler."""

PROGRAM = "targets/example-numpy/step.py"
