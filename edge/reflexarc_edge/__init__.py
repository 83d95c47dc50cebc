"""The device's shell: the log in SQLite and the runtime that performs what the engine asks.

Knows no protobuf and no model format: it is handed a Scorer. Owns the store's folder and its lock.
"""
