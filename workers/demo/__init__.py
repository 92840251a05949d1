"""The bundled demo: real orders through the whole worker."""
