"""Training of the compact classifier: pictures and votes in, a classifier bundle out. Needs PyTorch."""
