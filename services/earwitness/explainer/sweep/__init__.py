"""Sweeps: many settings over the same seeds as one search that survives its process, and the ranking of the settings.

values, layout      what is asked for, and the rows and blocks it becomes; pure
schema, store       what the database keeps of it; resuming copies what a failed one left into a new one
runner              runs one sweep: blocks of rows, checkpoints, results
sweeps              the use cases: create, watch, cancel, delete, and the queue that runs one sweep after another
ranking             asks the scorer
convert, servicer   the gRPC face; operations is google.longrunning's
"""
