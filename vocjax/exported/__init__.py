"""Trained runs for other programs: StableHLO, ONNX and safetensors, written and read again."""
