"""Results for notebooks."""
