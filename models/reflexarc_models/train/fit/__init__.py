"""The heavy models: a forest and boosting, with the settings that training rows choose."""
