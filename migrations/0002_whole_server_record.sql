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
CREATE TABLE `server_contexts` (
	`server_id` text NOT NULL,
	`org_id` text NOT NULL,
	`context` text NOT NULL,
	`created` integer NOT NULL,
	`created_by` text NOT NULL,
	`modified` integer NOT NULL,
	`modified_by` text NOT NULL,
	PRIMARY KEY(`server_id`, `org_id`),
	FOREIGN KEY (`server_id`) REFERENCES `servers`(`server_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `server_orgs` (
	`server_id` text NOT NULL,
	`org_id` text NOT NULL,
	PRIMARY KEY(`server_id`, `org_id`),
	FOREIGN KEY (`server_id`) REFERENCES `servers`(`server_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `server_orgs_by_org` ON `server_orgs` (`org_id`);--> statement-breakpoint
ALTER TABLE `server_tools` ADD `auto` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `server_tools` ADD `price_nano` integer;--> statement-breakpoint
ALTER TABLE `servers` ADD `stdio_config` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `registration_mode` text DEFAULT 'dcr' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `oauth_issuer_url` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `client_id` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `client_secret_sealed` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `authorization_endpoint` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `token_endpoint` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `registration_endpoint` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `revocation_endpoint` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `scopes` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `extra_auth_params` text DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `auto_all` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `definition_policy` text DEFAULT 'pin' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `is_code_mode_client` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `is_ping_available` integer DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `status_reason` text;