"""`reflexarc evaluate`: somebody's file in, honest figures out. Reads and shows; `reflexarc_models.train` measures."""
