"""Running other people's networks: CLIP, ONNX, EasyOCR, captioners, heads, devices and the hashes of weights."""
