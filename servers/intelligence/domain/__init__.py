"""What a text says, who is asked, and when a version of the model is good enough: pure and synchronous."""
