"""Forms: what was filled in, judged by the declaration that the browser has too. What becomes of it is `leads`'."""

from reflexarc_server.forms.declaration import declared
from reflexarc_server.forms.judging import Filled, judge

__all__ = ["Filled", "declared", "judge"]
