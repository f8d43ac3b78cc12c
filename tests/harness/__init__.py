"""The parts that the programs of tests/acceptance and tests/bench share."""
