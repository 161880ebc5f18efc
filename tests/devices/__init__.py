"""Training and answering where tensors do not lie in the memory of the host."""
