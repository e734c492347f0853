"""No test measures kernels for the user's cache, but those that say so."""

import os

os.environ.setdefault("INGOT_TUNING", "off")
