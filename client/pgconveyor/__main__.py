"""`python -m pgconveyor` is the command `pgconveyor`."""

from pgconveyor.cli import main

if __name__ == "__main__":
    main()
