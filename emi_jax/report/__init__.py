"""What a run shows: tables, figures as SVG, and pages that are whole in one file."""
