"""The model of SessionRec (paper 3.2-3.6): embedding, session encoders, backbones, and their assembly."""
