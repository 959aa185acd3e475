"""What needs a GPU is collected where PyTorch uses one: elsewhere there is nothing that could be skipped or not."""

try:
    import torch
except ImportError:
    HAS_GPU = False
else:
    HAS_GPU = torch.cuda.is_available()

collect_ignore = [] if HAS_GPU else ["test_on_gpu.py"]
