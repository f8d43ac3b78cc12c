"""The directories that the programs of the tests use."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()
ACCEPTANCE = TARGET / "acceptance"
BENCH = TARGET / "bench"

# imgforge's store, which every program shares that needs none of its own.
STORE = Path(os.environ.get("IMGFORGE_CACHE_DIR", ACCEPTANCE / "store")).resolve()

# The programs of tests/setup.
TOOLS = TARGET / "test-tools" / "venv" / "bin"
UV = TOOLS / "uv"

# Wheels that pip downloaded, which every program shares and none removes.
WHEELS = Path(os.environ.get("IMGFORGE_TEST_WHEELS", TARGET / "test-wheels")).resolve()

# The scripts that the Python of an image runs.
IN_CONTAINER = TESTS / "acceptance" / "in_container"
