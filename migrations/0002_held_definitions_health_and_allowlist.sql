CREATE TABLE `tool_changes` (
	`change_id` text PRIMARY KEY NOT NULL,
	`server_id` text NOT NULL,
	`tool` text NOT NULL,
	`approved` text NOT NULL,
	`proposed` text NOT NULL,
	`proposed_hash` text NOT NULL,
	`state` text NOT NULL,
	`found_at` integer NOT NULL,
	`decided_at` integer,
	`decided_by` text,
	FOREIGN KEY (`server_id`) REFERENCES `servers`(`server_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `tool_changes_by_server` ON `tool_changes` (`server_id`,`state`,`found_at`);--> statement-breakpoint
CREATE TABLE `allowlist_events` (
	`event_id` text PRIMARY KEY NOT NULL,
	`reason` text NOT NULL,
	`resource_type` text NOT NULL,
	`target` text NOT NULL,
	`mode` text NOT NULL,
	`server_id` text NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `allowlist_events_by_time` ON `allowlist_events` (`created_at`,`event_id`);--> statement-breakpoint
ALTER TABLE `servers` ADD `definition_policy` text DEFAULT 'pin' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `is_ping_available` integer DEFAULT true NOT NULL;