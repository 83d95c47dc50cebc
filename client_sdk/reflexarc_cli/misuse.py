"""What a person asked for cannot be meant: exit status 2, in one line like every other error."""

from __future__ import annotations

from typing import Final

from reflexarc_core.errors import ReflexArcError

EXIT_STATUS: Final = 2


class Misused(ReflexArcError):
    """A path, an option or a key that does not fit what is there. Nothing was done."""

    code = "usage"
