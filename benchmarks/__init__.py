"""How sessiond compares, on one machine and in one run, with what somebody would use in its place.

``scripts/benchmarks`` runs it; README.md in this folder says how it measures.
"""
