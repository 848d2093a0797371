"""What one training step costs on many devices, on paper."""
