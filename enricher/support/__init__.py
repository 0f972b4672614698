"""For support cases, tests and benchmarks: records the pipeline's input, and runs it over again."""
