"""`python -m modeling_cde.analysis.doctor`: see `diagnosis`."""

from ...whole_files import in_one_sentence
from .diagnosis import main

if __name__ == "__main__":
    with in_one_sentence("modeling_cde.analysis.doctor"):
        main()
