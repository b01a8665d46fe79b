"""Load on a running stack and what a real Prometheus sees of it: throughput, latencies, refusals, saturation."""
