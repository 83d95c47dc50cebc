"""Enrichment: what an event from the open side is given beside what it came with, and what is taken from it.

Owns the reading of user agents, referrers, campaigns, sessions and content, and the rules on personal fields. Pure functions over
an event and the call it came by: must never store, send, or ask another host.
"""
