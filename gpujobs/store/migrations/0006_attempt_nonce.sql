-- A random id of each attempt, which everything that it leaves carries: numbers are given again where a store was
-- restored from an older copy. Empty for the attempts of earlier versions.
ALTER TABLE attempts ADD COLUMN nonce TEXT NOT NULL DEFAULT '';
