"""Which part of a batch that was refused as a whole is sent next, until the one bad record stands alone.

Owns the parts that are still to be sent. Knows numbers only: sends nothing and judges no record.
"""

from __future__ import annotations

from collections.abc import Sequence


class _Part:
    """Numbers to be sent together. is_bad: something among them is refused, since it was with their neighbours, and was not
    among those. other: the part behind this one that is bad if this one is not."""

    __slots__ = ("is_bad", "other", "seqs")

    def __init__(self, seqs: Sequence[int]) -> None:
        self.seqs = list(seqs)
        self.is_bad = False
        self.other: _Part | None = None


class Halving:
    """The parts of the batches that were refused, the next one last.

    One bad record among n is alone after at most log2(n) + 1 further calls, and everything before it has gone through by then.
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    def count(self, normal: int) -> int:
        """How many records to send next; as many as normal when nothing is refused."""
        while self._parts and self._parts[-1].is_bad and len(self._parts[-1].seqs) > 1:
            self._split(self._parts.pop())
        return len(self._parts[-1].seqs) if self._parts else normal

    def passed(self, upto_seq: int) -> None:
        """Everything up to this number went through, or needs to go no more."""
        while self._parts:
            part = self._parts[-1]
            part.seqs = [seq for seq in part.seqs if seq > upto_seq]
            if part.seqs:
                return
            if part.other is not None:
                part.other.is_bad = True
            self._parts.pop()

    def refused(self, seqs: Sequence[int]) -> bool:
        """Numbers that were sent together were refused. True when it was one alone: that one is bad."""
        rest: list[int] = []
        if self._parts:
            expected = self._parts.pop().seqs
            if list(seqs) != expected[: len(seqs)]:
                self._parts.clear()  # what was sent is not what was meant to be: begin with that
            else:
                rest = expected[len(seqs) :]
        if rest:
            self._parts.append(_Part(rest))
        if len(seqs) > 1:
            self._split(_Part(seqs))
            return False
        if seqs:
            self._parts.append(_Part(seqs))
        return bool(seqs)

    def buried(self, seq: int) -> None:
        """The one that stood alone is sent no more."""
        self._parts = [part for part in self._parts if part.seqs != [seq]]

    def clear(self) -> None:
        """Begin anew: the numbers mean something else now."""
        self._parts.clear()

    def _split(self, part: _Part) -> None:
        middle = (len(part.seqs) + 1) // 2
        front, back = _Part(part.seqs[:middle]), _Part(part.seqs[middle:])
        front.other = back
        self._parts += [back, front]
