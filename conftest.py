"""What pytest leaves out: modules whose package is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("numba") else ["xpnet/program/lowerings/numba/*"]
