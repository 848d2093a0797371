"""Many clips: the dataset, its report and its checks."""
