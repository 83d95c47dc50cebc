"""The tools for a device's store: look at it, check it, mend it, copy its records out.

Everything but mending reads only, beside a process that owns the store too. No payload, subject or property is ever shown but
by the export, whose purpose it is.
"""
