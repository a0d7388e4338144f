"""``scripts/bench tables``: accuracy on public tables, beside other libraries on the same splits."""
