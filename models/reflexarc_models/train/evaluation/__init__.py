"""What a kind of model is worth on a log or a table of somebody: trained, then measured on rows it never saw."""
