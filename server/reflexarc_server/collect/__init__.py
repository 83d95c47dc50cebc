"""What comes over HTTP: browsers, pixels, redirects, inbound mail, webhooks.

Everything here ends in the same events as the rest (`Ingest.accept`). Input comes from the open internet
and is hostile by default.
"""
