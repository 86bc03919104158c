"""Fine-tuning on annotated images."""
