-- The digest that the source layer had uncompressed: another config may promise another one for the
-- same blob, and the layer must not be taken for it then. Rows without it are not used any more.
ALTER TABLE converted_layer ADD COLUMN diff_id TEXT;
