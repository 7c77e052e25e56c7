"""Speed, memory and scale, each as a ratio measured in one run."""
