"""From many clips to the dataset, its report and its checks."""
