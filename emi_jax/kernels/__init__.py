"""Operations with a tuned form for some platform, one per file: the plain reference first, then the tuned form."""
