//! Who is calling and may they: signatures, access keys, tokens, authorisation.
