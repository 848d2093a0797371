"""Operations with a tuned form for some platform, one file each: the plain reference first, the tuned form below."""
