"""The site's `sentiment`: the folder of a trained model that reads the mood of replies and mentions.

    sentiment: models/sentiment        # starts at the site file's folder; without it a word list reads

The model is loaded and checked when the file is read: a server never starts with one that does not work.
"""

from __future__ import annotations

from pathlib import Path

from reflexarc_build.source import Mistakes, Node
from reflexarc_core.errors import ReflexArcError
from reflexarc_models.sentiment import Sentiment


def read(node: Node, mistakes: Mistakes) -> Sentiment | None:
    """The model. What is wrong is noted, and None."""
    if not isinstance(node.value, str) or not node.value:
        mistakes.add(node, "sentiment is no folder", "write sentiment: FOLDER of a model that `reflexarc train` made")
        return None
    try:
        return Sentiment.load(Path(node.file).parent / node.value)
    except ReflexArcError as error:
        mistakes.add(node, f"sentiment: {error.message}", error.hint or "name the folder of a trained sentiment model")
        return None
