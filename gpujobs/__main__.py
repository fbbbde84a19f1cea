"""`gpujobs`, and `python -m gpujobs`: the command line, which is imported where Ctrl-C is looked for already."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    try:
        from gpujobs.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:  # click takes it from where a command begins
        sys.stderr.write("gpujobs: interrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
