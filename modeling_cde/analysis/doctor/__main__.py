"""`python -m modeling_cde.analysis.doctor`: see `diagnosis`."""

from .diagnosis import main

if __name__ == "__main__":
    main()
