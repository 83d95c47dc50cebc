"""The site file: what the open side of a server is told, in one YAML file.

Owns which sections there are and that a file is taken whole or not at all, each mistake with its line. What a section means is
its own module's. Secrets are never written into the file, only where they are (`site.secret`).
"""

from reflexarc_server.site.reader import WRITE_KEY_HINT, Site, read_site

__all__ = ["WRITE_KEY_HINT", "Site", "read_site"]
