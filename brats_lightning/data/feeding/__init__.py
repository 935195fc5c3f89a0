"""How training batches are made: patches of cases that live on the GPU, in memory, or on disk."""
