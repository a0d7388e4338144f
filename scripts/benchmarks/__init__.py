"""Speed of a training step beside the peers', in one run: ``scripts/bench``."""
