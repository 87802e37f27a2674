"""`python -m kilotune.survey FILE`: see `one`."""

from .one import main

main()
