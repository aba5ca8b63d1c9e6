"""Images, textures and labels."""
