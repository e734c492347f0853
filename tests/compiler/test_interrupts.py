"""Ctrl-C ends a command even where Python loses the exception."""

import contextlib
import os
import signal

import pytest

from ingot.compiler.cli.interrupts import noting_interrupts


def test_an_interrupt_that_was_lost_is_raised_at_the_next_step() -> None:
    with noting_interrupts() as check:
        check()
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 0.01)
        with pytest.raises(KeyboardInterrupt):
            check()


def test_the_handler_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noting_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
