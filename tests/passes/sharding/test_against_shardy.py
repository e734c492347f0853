"""The collectives in our programs are those that Shardy derives from the weights' shardings."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ingot.ir import Module
from ingot.passes import parse_pipeline

from .models import LLAMA, decoder
from .stablehlo import stablehlo_text
from .test_structure import collectives

SHARDY = Path(__file__).with_name("shardy.py")
FORMS = {
    "one layer": replace(LLAMA, layers=1, kv_heads=4),
    "grouped heads": replace(LLAMA, kv_heads=4),
    "fewer KV heads than devices": LLAMA,
    "biases, tied": replace(LLAMA, bias=True, tied=True),
    "norms of heads": replace(LLAMA, head_norms=True),
}

PARALLEL = replace(LLAMA, parallel=True, gated=False)


def derived(module: Module) -> dict[str, int]:
    """Return the collectives that Shardy inserts into the annotated module."""
    done = subprocess.run(
        [sys.executable, str(SHARDY)],
        input=stablehlo_text(module),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("form", "mesh"), [*((form, "tp4") for form in FORMS), ("grouped heads", "dp2xtp4")]
)
def test_shardy_puts_the_same(form: str, mesh: str) -> None:
    module = decoder(FORMS[form])
    parse_pipeline(f"assign-sharding{{mesh={mesh}}}").run(module)
    expected = derived(module)
    parse_pipeline("propagate-sharding,partition").run(module)
    assert collectives(module) == expected


def test_shardy_makes_each_of_two_sums_that_we_add_first() -> None:
    """Attention and unit side by side: what both leave on the devices is terms of one sum.

    Shardy ends each product by its own sum over devices; the rules here know that a sum of terms is
    a term, and add before they send.
    """
    module = decoder(PARALLEL)
    parse_pipeline("assign-sharding{mesh=tp4}").run(module)
    expected = derived(module)
    parse_pipeline("propagate-sharding,partition").run(module)
    assert expected == {"all_reduce": 5, "all_gather": 1}
    assert collectives(module) == {"all_reduce": 3, "all_gather": 1}
