"""The server: ingest, subject features, scoring, bundles and results over one embedded store.

Runs the same engine as the devices, over the log of all of them. Never imports the device's rooms.
"""
