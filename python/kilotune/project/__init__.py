"""What `kilotune new` and `kilotune federated new` make: folders with a model and samples that build or run at once.

The former's has an application in C and its build files, the latter's is an app for Flower.
"""

from .fleet import App, make_app
from .making import Project, make
from .samples import write_samples

__all__ = ["App", "Project", "make", "make_app", "write_samples"]
