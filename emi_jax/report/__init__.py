"""Output for people: tables, figures as SVG, and self-contained pages."""
