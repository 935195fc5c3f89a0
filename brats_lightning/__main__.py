"""`python -m brats_lightning` is `brats`."""

from brats_lightning.cli import main

if __name__ == "__main__":
    main()
