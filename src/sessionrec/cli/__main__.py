"""`python -m sessionrec.cli`."""

from sessionrec.cli import main

if __name__ == "__main__":
    main()
