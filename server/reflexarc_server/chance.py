"""Chance of the server's own, apart from whatever else in the process draws from `random`."""

import random
from typing import Final

CHANCE: Final = random.Random()
