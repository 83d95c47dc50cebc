"""Leads: what somebody sent by a form, with what the site knows of them, kept and on its way to whoever answers."""

from reflexarc_server.leads.taking import Leads, Submission

__all__ = ["Leads", "Submission"]
