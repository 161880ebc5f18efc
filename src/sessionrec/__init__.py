"""Next-session recommendation: raw logs to sessions, sessions to models, models to services (arXiv 2502.10157)."""

__version__ = "0.1.0"
