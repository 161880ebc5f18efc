"""Losses of SessionRec (paper 3.7): they take tensors, never the model.

To add one: its function in `retrieval`; in `objective` its config, the name of that in the union, and the branch that
calls it. Every loss but `full` draws `negatives`.
"""
