"""Mail that comes in: read, told apart, matched to what was sent, routed.

Everything a stranger may have written passes here: bounded in size and depth, and no message ends anything but itself.
"""
