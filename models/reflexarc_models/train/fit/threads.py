"""One thread for linear algebra while many small products are made.

Owns nothing but that limit. OpenBLAS shares every product out to all cores and waits for them by spinning: on a machine
with other work, small products then take many times as long as on one core.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it BLAS uses the calling thread alone, in the whole process."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield
