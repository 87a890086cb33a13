CREATE TRIGGER `tokens_disposed` AFTER DELETE ON `tokens` BEGIN
  INSERT OR REPLACE INTO `token_disposals` VALUES (old.token_id, old.version, old.server_id, old.org_id, old.user_id);
  INSERT INTO `credential_generations` VALUES (CASE old.org_id WHEN '' THEN '*' ELSE old.org_id END, 1)
    ON CONFLICT (org_id) DO UPDATE SET value = value + 1;
END;
