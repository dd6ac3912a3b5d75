//! PyTorch files that the tests make by hand.
