"""Catalogs as files: what differs between two, and which version of one is live."""
