"""Features that users have already: reads the files of other tools into rows with times."""
