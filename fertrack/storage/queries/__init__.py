"""Questions about stored runs, answered as DataFrames."""
