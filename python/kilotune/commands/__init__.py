"""Groups of commands that stand in files of their own; `cli.py` puts them together."""
