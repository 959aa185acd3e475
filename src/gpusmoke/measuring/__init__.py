"""How rates are measured and results verified; what runs in a child imports PyTorch, the rest does not."""

METHOD = 2
"""The version of the method that every measurement carries; figures of different methods are not compared."""
