"""The `reflexarc` command and the demo. May import every room; no room imports it."""
