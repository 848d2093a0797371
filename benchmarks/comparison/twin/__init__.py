"""The system in idiomatic PyTorch: `transformers` encoders, `nn.LSTM`, SDPA attention. Weights convert both ways."""
