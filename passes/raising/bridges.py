"""Cancels crossings from `lm` to torch and straight back."""

from ingot.ir import FromTorch, ToTorch
from ingot.passes.bridging import peel
from ingot.passes.core import pattern, producer, replace


@pattern
def there_and_back(op: FromTorch) -> None:
    """`from_torch(to_torch(x))`, with nothing but copies and regroupings of heads between."""
    below = producer(peel(op.x), ToTorch)
    if below is not None and below.x.type == op.out.type:
        replace(op, below.x)
