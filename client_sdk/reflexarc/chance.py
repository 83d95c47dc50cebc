"""Chance of our own: an application that seeds `random` must not find its numbers drawn by us, nor we ours repeated by it."""

import random
from typing import Final

CHANCE: Final = random.Random()
