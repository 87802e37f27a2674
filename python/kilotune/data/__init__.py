"""Samples as people have them: .npz, .npy and .csv files, folders of images or recordings by class, labels as numbers or as words.

`load` reads any of them for a model. It reshapes where only one meaning is possible, numbers named classes, and says in `Dataset.notes`
what it did beyond reading; everything else is refused with the place and the remedy.
"""

from .dataset import Dataset, Reading, Wanted
from .loading import load
from .naming import checked_names, read_names

__all__ = ["Dataset", "Reading", "Wanted", "checked_names", "load", "read_names"]
