"""How a model is executed: one protocol, two implementations (Triton over gRPC, ONNX Runtime in process)."""
