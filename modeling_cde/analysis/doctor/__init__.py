"""The doctor: signs of trouble while a training runs and after it."""
