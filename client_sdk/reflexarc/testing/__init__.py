"""What a test of an application needs: a clock it turns by hand and models it writes down.

These are products: the same ports as the real parts, good enough to ship.
"""

from reflexarc.testing.clock import ManualClock
from reflexarc.testing.scorer import TableScorer

__all__ = ["ManualClock", "TableScorer"]
