"""The command line: parse, build, run, exit code. No analysis happens here."""
