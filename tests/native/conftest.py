"""Make the twins importable: they lie beside the tests, which are no package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
