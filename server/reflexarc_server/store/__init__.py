"""What the server keeps: a port, and SQLite behind it."""
