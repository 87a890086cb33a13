-- Generations begin at random: a cache that outlives a database must not take another one's for its own.
UPDATE `generations` SET `value` = `value` + abs(random() % 1000000000000);
