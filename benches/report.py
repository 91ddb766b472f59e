"""Renders target/benchmarks/*.json, the results of the benchmarks, to docs/benchmarks.md and docs/benchmarks/*.svg."""
