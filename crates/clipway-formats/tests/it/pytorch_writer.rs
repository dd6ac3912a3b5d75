//! Files that the PyTorch writer makes.
