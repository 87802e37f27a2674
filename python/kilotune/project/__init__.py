"""`kilotune new`: a folder with a model, an application in C, its build files and samples, which builds at once."""

from .making import Project, make
from .samples import write_samples

__all__ = ["Project", "make", "write_samples"]
