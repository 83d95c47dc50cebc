"""Sentiment of texts: trained and measured."""
