"""Data sets on disk: layout, writer, reader, views of it, and the loader that makes batches."""
