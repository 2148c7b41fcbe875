"""The laboratory: measures fertrack for its authors; nothing in the product imports it."""
