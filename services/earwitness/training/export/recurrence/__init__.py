"""Recurrent layers in one piece: `nn.GRU`, `nn.LSTM` and `nn.RNN` with their gradients, however long the sequence.

Traced as torch computes it, a layer over T steps is T copies of its step, and as many of the step's gradient. Here
`calls` takes such a call whole while a network is traced, `layers` makes of it, for each of its layers, one operator of
ours (`operators`) whose gradient is a second one, and `onnx_forms` writes each as a `Scan`: one step, run T times.

The operators hold only what really has to wait for the step before. What does not, that is the products with the input
and, in the gradient, all slopes of the gates, is computed for all steps at once around them.
"""

from earwitness.training.export.recurrence.calls import in_one_piece
from earwitness.training.export.recurrence.onnx_forms import translations

__all__ = ["in_one_piece", "translations"]
