"""`python -m bellhousing`."""

from bellhousing.cli import main

main()
