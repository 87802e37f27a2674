"""What notebooks and pages show: curves of a training, confusion before and after, tables of models, builds and adapters."""
