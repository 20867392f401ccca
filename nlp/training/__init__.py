"""How `nlp/models/` is made: `python -m nlp.training --help`. Needs the extra `train`."""
