"""What people look at: tables, figures as SVG, and self-contained pages."""
