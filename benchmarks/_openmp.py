"""Imported before torch: idle threads sleep instead of spinning.

Where other programs want the same cores, spinning makes a training step up to ten times slower.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
