"""A local page on which one walks through an autoencoder's latent space."""
