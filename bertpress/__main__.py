"""``python -m bertpress``, also under torchrun and accelerate launch."""

from bertpress.cli import main

if __name__ == "__main__":
    main()
