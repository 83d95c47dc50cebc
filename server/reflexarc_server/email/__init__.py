"""Email: what goes out is marked with signed tokens, and what comes of it becomes events.

Owns messages and their tokens; knows nothing of HTTP. Must never let a caller choose where a redirect leads.
"""
