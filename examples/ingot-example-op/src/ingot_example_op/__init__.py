"""Operations for Ingot in a package of their own."""
