"""`python -m modeling_cde.evaluation`: see `evaluate`."""

from .evaluate import main

if __name__ == "__main__":
    main()
