"""The demo: the whole loop in one command, on simulated shoppers or on a real file.

driver starts the fleet (a server, devices); each device captures its subjects' history, the server learns from that log,
and the days after the cut are replayed through the devices. results checks what must hold; page shows it.
"""
