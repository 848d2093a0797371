"""Token embeddings of all text encoders."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class TokenEmbedding(nn.Module):
    """Words, plus learned positions and the type of the first segment where the encoder has them.

    Attributes:
        vocab_size: number of words.
        features: width of the embeddings.
        positions: rows of the table of positions, 0 = none.
        types: number of segment types, 0 = none; every token is of the first.
        padding_id: for encoders whose positions skip padding and start after its id, as RoBERTa's; None = positions
            count from 0.
        initializer_range: standard deviation of the initial values.
    """

    vocab_size: int
    features: int
    positions: int = 0
    types: int = 0
    padding_id: int | None = None
    initializer_range: float = 0.02

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps tokens, int `[B, L]`, to float32 `[B, L, D]`; raises ValueError for more tokens than positions."""
        L, init = tokens.shape[1], nn.initializers.normal(self.initializer_range)
        x = nn.Embed(self.vocab_size, self.features, embedding_init=init, name="words")(tokens)
        if self.positions:
            first = 0 if self.padding_id is None else self.padding_id + 1
            if self.positions - first < L:
                raise ValueError(f"{L} tokens, the encoder has {self.positions - first} positions: cut the text")
            table = self.param("positions", init, (self.positions, self.features))
            if self.padding_id is None:
                x = x + table[None, :L]
            else:
                x = x + table[positions_without_padding(tokens, self.padding_id)]
        if self.types:
            x = x + self.param("types", init, (self.types, self.features))[None, :1]
        return x


def positions_without_padding(tokens: jax.Array, padding_id: int) -> jax.Array:
    """Positions of tokens, int `[B, L]`, by the rule of `transformers.RobertaModel`: int `[B, L]`.

    Tokens that are not padding count from padding_id + 1; padding stands at padding_id.
    """
    real = (tokens != padding_id).astype(jnp.int32)
    return jnp.cumsum(real, axis=1) * real + padding_id
