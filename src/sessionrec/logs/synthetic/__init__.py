"""Logs that are made, not found: one whose right answer is known, and others of any size with the habits of real logs.

`planted` has a rule that a working model learns to the last item; `reader` hands on a generated world of short videos;
`recflow_files` and `kuaisar_files` write such a world as raw files of those logs' shapes. `ratings` is a log without
visits; `rating_files` writes it as files of MovieLens and of the Amazon papers.
"""
