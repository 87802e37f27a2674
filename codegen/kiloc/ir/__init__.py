"""The intermediate representation: types, graph, verifier, text form, interpreter."""
