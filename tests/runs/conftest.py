"""Fixtures of the runs' tests: pictures are as quick as in the tests of the command line."""

from __future__ import annotations

from tests.cli.conftest import _quick_pictures, pictures

__all__ = ["_quick_pictures", "pictures"]
