"""What pytest leaves out here: scripts that import each other by their bare names."""

collect_ignore_glob = ["run.py", "hook/*"]
