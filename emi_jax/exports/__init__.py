"""A trained run as a folder that needs none of this code, on this disk or on the Hugging Face hub."""
