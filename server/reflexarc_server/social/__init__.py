"""Social events: what platforms tell about posts, who has to look at them, what is answered, and what is passed on by whom."""
