"""What a device holds of a catalogue of items: int8 factors, next-step links, and the numbers both are used with.

Owns the bytes of `items.bin` and every check of them. Must never hold anything about a person: whose taste it is
lives in `reflexarc_models.interest`. Imports numpy only when a file is read or written.
"""

from __future__ import annotations

import functools
import itertools
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reflexarc_core.errors import ManifestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ITEMS_FILE: Final = "items.bin"
"""The file's name in an artifact."""

MAGIC: Final = b"RXITEMS1"
_HEADER: Final = struct.Struct("<IHHHddddd")
_CHECKSUM: Final = struct.Struct("<I")

ITEM_COUNT_MAX: Final = 200_000
DIMENSION_MAX: Final = 256
LINKS_PER_ITEM_MAX: Final = 255
ITEM_ID_BYTES_MAX: Final = 1_024
LINK_WINDOW_MAX: Final = 200


@dataclass(frozen=True, eq=False)
class ItemFactors:
    """Items, most popular first (so an item's number is its rank), and what is known of them.

    item_ids: [n], distinct. codes: int8 [n, d]; scales: float32 [n]; an item's factors are codes * scale (a scale of 0:
    nothing is known of it but its popularity). unobserved_weight (w0), regulariser: of the fold-in of
    `reflexarc_models.interest`. Links say what comes next after an item: link_starts: int64 [n + 1] into link_targets
    (int64, item numbers, ascending within an item) and link_codes (uint8); a link's strength is its code * the item's
    link_scales (float32 [n]). The last `link_window` items of a subject speak, each `link_decay` times as loud as the one
    behind it; link_share in [0, 1] is their part in the ranking. diversity in [0, 1): how much a list is spread.
    """

    item_ids: tuple[str, ...]
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    unobserved_weight: float
    regulariser: float
    link_starts: NDArray[np.int64]
    link_targets: NDArray[np.int64]
    link_codes: NDArray[np.uint8]
    link_scales: NDArray[np.float32]
    link_share: float = 0.0
    link_decay: float = 1.0
    link_window: int = 1
    diversity: float = 0.0

    def __post_init__(self) -> None:
        """Raises ManifestError when the parts contradict each other or leave their limits."""
        wrong = self._first_wrong()
        if wrong:
            raise ManifestError(f"item factors: {wrong}", hint="train the model again, or download the artifact again")

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def dimension(self) -> int:
        """d, numbers per item."""
        return int(self.codes.shape[1])

    @functools.cached_property
    def index(self) -> Mapping[str, int]:
        """Item id to item number."""
        return {item_id: number for number, item_id in enumerate(self.item_ids)}

    @functools.cached_property
    def columns(self) -> NDArray[np.float32]:
        """Factors as all of them are multiplied with, float32 [d, n]."""
        import numpy as np

        return np.ascontiguousarray((self.codes.astype(np.float32) * self.scales[:, None]).T)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The same by item, float32 [n, d]."""
        return self.columns.T

    def rows(self, numbers: Sequence[int] | NDArray[Any]) -> NDArray[np.float64]:
        """Factors of some items, float64 [len(numbers), d]."""
        import numpy as np

        return (self.codes[numbers] * self.scales[numbers][:, None]).astype(np.float64)

    @functools.cached_property
    def precision(self) -> NDArray[np.float64]:
        """w0 HtH + regulariser I, float64 [d, d]: what is known of a subject who did nothing yet."""
        import numpy as np

        wide = self.vectors.astype(np.float64)
        return np.asarray(self.unobserved_weight * (wide.T @ wide) + self.regulariser * np.eye(self.dimension))

    @functools.cached_property
    def prior(self) -> NDArray[np.float64]:
        """The inverse of `precision`, float64 [d, d]."""
        import numpy as np

        return np.asarray(np.linalg.inv(self.precision), dtype=np.float64)

    @functools.cached_property
    def link_strengths(self) -> NDArray[np.float32]:
        """Strength of every link, float32, beside `link_targets`."""
        import numpy as np

        repeated = np.repeat(self.link_scales, np.diff(self.link_starts))
        return np.asarray(self.link_codes.astype(np.float32) * repeated, dtype=np.float32)

    def to_bytes(self) -> bytes:
        """`items.bin`: header, ids, factors, links, CRC-32; little-endian throughout. Equal factors give equal bytes."""
        import numpy as np

        names = [item_id.encode() for item_id in self.item_ids]
        header = _HEADER.pack(
            len(self), self.dimension, self.link_window, 0, self.unobserved_weight, self.regulariser, self.link_share,
            self.link_decay, self.diversity,
        )  # fmt: skip
        parts = (
            np.array([len(name) for name in names], dtype="<u2").tobytes(),
            b"".join(names),
            self.codes.astype("<i1").tobytes(),
            self.scales.astype("<f4").tobytes(),
            np.diff(self.link_starts).astype("<u1").tobytes(),
            self.link_targets.astype(_target_type(len(self))).tobytes(),
            self.link_codes.astype("<u1").tobytes(),
            self.link_scales.astype("<f4").tobytes(),
        )
        body = MAGIC + header + b"".join(parts)
        return body + _CHECKSUM.pack(zlib.crc32(body))

    @staticmethod
    def from_bytes(content: bytes) -> ItemFactors:
        """Read `items.bin`. Raises ManifestError for anything that `to_bytes` would not have written."""
        import numpy as np

        if len(content) < len(MAGIC) + _HEADER.size + _CHECKSUM.size or content[: len(MAGIC)] != MAGIC:
            raise ManifestError(f"{ITEMS_FILE} is not of the format {MAGIC.decode()}", hint="update the software that reads it")
        body, checksum = content[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
        if zlib.crc32(body) != _CHECKSUM.unpack(checksum)[0]:
            raise ManifestError(f"{ITEMS_FILE} is damaged: its checksum does not fit", hint="download the artifact again")
        count, dimension, window, reserved, *numbers = _HEADER.unpack_from(body, len(MAGIC))
        # Before anything of a stated size is made: a file may state any.
        if not 1 <= count <= ITEM_COUNT_MAX or not 1 <= dimension <= DIMENSION_MAX or reserved:
            raise ManifestError(f"{ITEMS_FILE} states {count} items of {dimension} numbers", hint=f"at most {ITEM_COUNT_MAX}")
        reading = _Reading(body, len(MAGIC) + _HEADER.size)
        name_lengths = reading.take("<u2", count)
        names = reading.take("<u1", int(name_lengths.sum(dtype=np.int64))).tobytes()
        ends = np.cumsum(name_lengths, dtype=np.int64).tolist()
        try:
            item_ids = tuple(names[start:end].decode() for start, end in itertools.pairwise([0, *ends]))
        except UnicodeDecodeError as error:
            raise ManifestError(f"{ITEMS_FILE} holds an item id that is not text") from error
        codes = reading.take("<i1", count * dimension).astype(np.int8).reshape(count, dimension)
        scales = reading.take("<f4", count).astype(np.float32)
        link_counts = reading.take("<u1", count).astype(np.int64)
        link_count = int(link_counts.sum())
        found = ItemFactors(
            item_ids=item_ids,
            codes=codes,
            scales=scales,
            unobserved_weight=numbers[0],
            regulariser=numbers[1],
            link_starts=np.concatenate(([0], np.cumsum(link_counts))).astype(np.int64),
            link_targets=reading.take(_target_type(count), link_count).astype(np.int64),
            link_codes=reading.take("<u1", link_count).astype(np.uint8),
            link_scales=reading.take("<f4", count).astype(np.float32),
            link_share=numbers[2],
            link_decay=numbers[3],
            link_window=window,
            diversity=numbers[4],
        )
        if reading.at != len(body):
            raise ManifestError(f"{ITEMS_FILE} has {len(body) - reading.at} bytes too many")
        return found

    def _first_wrong(self) -> str:
        import numpy as np

        n, starts, targets = len(self.item_ids), self.link_starts, self.link_targets
        if not 1 <= n <= ITEM_COUNT_MAX:
            return f"{n} items (1 to {ITEM_COUNT_MAX})"
        if len(set(self.item_ids)) != n:
            return "an item id stands twice"
        if any(not 1 <= len(item_id.encode()) <= ITEM_ID_BYTES_MAX for item_id in self.item_ids):
            return f"an item id is empty or longer than {ITEM_ID_BYTES_MAX} bytes"
        if self.codes.ndim != 2 or len(self.codes) != n or not 1 <= self.codes.shape[1] <= DIMENSION_MAX:
            return "the factors do not fit the items"
        if self.scales.shape != (n,) or self.link_scales.shape != (n,) or starts.shape != (n + 1,):
            return "an array does not fit the items"
        # NaN fails both comparisons, infinity the second.
        if not all(((one >= 0) & (one < 1e6)).all() for one in (self.scales, self.link_scales)):
            return "a scale is negative or not a number"
        steps = np.diff(starts)
        if starts[0] != 0 or starts[-1] != len(targets) or (steps < 0).any() or (steps > LINKS_PER_ITEM_MAX).any():
            return "the links do not fit the items"
        if len(self.link_codes) != len(targets) or (len(targets) and not 0 <= targets.min() <= targets.max() < n):
            return "a link leads to no item"
        inner = np.ones(len(targets), dtype=bool)
        inner[starts[:-1][steps > 0]] = False
        if len(targets) and (np.diff(targets, prepend=-1) <= 0)[inner].any():
            return "the links of an item do not ascend"
        if not 1 <= self.link_window <= LINK_WINDOW_MAX:
            return f"a link window of {self.link_window} (1 to {LINK_WINDOW_MAX})"
        for name, value, low, high in (
            ("unobserved weight", self.unobserved_weight, 0.0, 1e6),
            ("regulariser", self.regulariser, 1e-6, 1e9),
            ("link share", self.link_share, 0.0, 1.0),
            ("link decay", self.link_decay, 0.0, 1.0),
            ("diversity", self.diversity, 0.0, 0.99),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                return f"a {name} of {value!r} ({low} to {high})"
        return ""


def quantized(factors: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(int8 codes [n, d], float32 scale [n]) of factors [n, d]: symmetric, one scale an item, |code| <= 127.

    An item without factors (never seen in training) gets the scale 0 and codes 0: its largest number divides nothing.
    """
    import numpy as np

    scales = (np.abs(factors).max(axis=1) / 127.0).astype(np.float32)
    divisor = np.where(scales > 0, scales, np.float32(1)).astype(np.float64)
    codes = np.clip(np.rint(factors / divisor[:, None]), -127, 127).astype(np.int8)
    return codes, scales


class _Reading:
    """Takes arrays off the front of bytes."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self.at = at

    def take(self, kind: str, count: int) -> NDArray[Any]:
        import numpy as np

        size = np.dtype(kind).itemsize * count
        if self.at + size > len(self._content):
            raise ManifestError(f"{ITEMS_FILE} ends too early", hint="download the artifact again")
        found = np.frombuffer(self._content, dtype=kind, count=count, offset=self.at)
        self.at += size
        return found


def _target_type(item_count: int) -> str:
    return "<u2" if item_count <= 1 << 16 else "<u4"
