"""Sync by files on the server: what a person brings from a device, and the answers to take back.

Owns the folder `sync-files` within the server's. What a batch means is ingest's, what comes down is the event service's: a file
only carries them. Must never take anything of a file before the whole of it was checked.
"""

from reflexarc_server.sync_files.applying import SyncFiles

__all__ = ["SyncFiles"]
