"""The database: one schema for SQLite and PostgreSQL, one batched writer, and questions answered as DataFrames."""
