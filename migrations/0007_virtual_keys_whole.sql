ALTER TABLE `virtual_keys` ADD `previous_hash` text;--> statement-breakpoint
ALTER TABLE `virtual_keys` ADD `previous_until` integer;--> statement-breakpoint
ALTER TABLE `virtual_keys` ADD `expires_at` integer;--> statement-breakpoint
ALTER TABLE `virtual_keys` ADD `last_used_at` integer;--> statement-breakpoint
ALTER TABLE `virtual_keys` ADD `group_id` text;--> statement-breakpoint
CREATE UNIQUE INDEX `virtual_keys_by_previous_hash` ON `virtual_keys` (`previous_hash`);