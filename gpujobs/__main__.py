"""`python -m gpujobs` is the command line."""

from gpujobs.cli.main import main

main()
