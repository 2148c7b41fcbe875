"""Classifiers as files: bundles, weights, and the networks behind them."""
