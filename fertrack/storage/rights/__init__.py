"""Rows that belong to one data subject: found, redacted, erased."""
