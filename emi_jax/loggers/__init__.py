"""Where the metrics, hyper-parameters, final scores and pictures of a run can be followed."""
