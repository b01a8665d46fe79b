"""Networks in files, ONNX, TorchScript and torch.export, as bundles: with their gradient where it can be computed.

`reading` makes one ONNX graph of each, `network` a network in torch of that, by rules for its operations (`pointwise`,
`moving`, `reducing`, `learned`, and `weighted` for those with weights); `heard` says how it takes spectrograms;
`exporting` writes the bundle, or, where an operation has no rule, one without a search graph (`without_gradient`).
"""

from earwitness.training.export.files.exporting import ExportedFile, FileOptions, export_files, read_generator
from earwitness.training.export.files.reading import kind_of

__all__ = ["ExportedFile", "FileOptions", "export_files", "kind_of", "read_generator"]
