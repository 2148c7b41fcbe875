"""People's rights in their data: purpose, erasure, export."""
