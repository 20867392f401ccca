"""Texts to tags: language, matched terms, sentiment, purchase intent, stage of the journey.

This package knows nothing of sites, storage or scheduling. Importing it loads no model library.
"""
