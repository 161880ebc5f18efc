"""Tests that take more than a few seconds and need no raw log of their own."""
