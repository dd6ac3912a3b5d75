"""The command `clipway`."""

import sys

from clipway import _clipway


def main() -> int:
    """Runs the program with the arguments of this process."""
    return _clipway.main(["clipway", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
