"""Sync by files: what `reflexarc sync` does on a device and at a server.

Owns files, folders and what is said about them. Must never decide what is sent or what an answer means: that is the client's and
the server's.
"""
