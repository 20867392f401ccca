"""The outside world to pages of mentions: one site or file format per module.

This package knows nothing of nlp, storage or scheduling. A connector never sleeps and never stores.
"""
