"""The input pipeline: from a TFDS dataset on disk to batches on the devices."""
