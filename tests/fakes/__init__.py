"""What tests use in place of large models, hubs and visitors."""
