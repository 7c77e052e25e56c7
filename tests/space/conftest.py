"""The demo's modules lie side by side, as in a Space, and find each other by the folder of app.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "space"))
