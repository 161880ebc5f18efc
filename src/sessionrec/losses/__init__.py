"""Losses of SessionRec (paper 3.7): they take tensors, never the model.

To add one: a file here with its config and function, and its name in the union of `objective`.
"""
