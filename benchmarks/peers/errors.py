"""What makes a runtime absent from a result instead of ending the run."""


class AbsentError(Exception):
    """A runtime could not be built, or cannot do what is asked; the text says why."""
