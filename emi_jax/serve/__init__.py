"""A local page on which a person drops or records clips and sees their predictions."""
