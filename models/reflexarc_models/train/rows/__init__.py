"""What a model is trained on: rows and their labels, folded from a log or read from a table, and which of them do what."""
