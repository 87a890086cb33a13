CREATE TABLE `credential_generations` (
	`org_id` text PRIMARY KEY NOT NULL,
	`value` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `oauth_flows` (
	`flow_id` text PRIMARY KEY NOT NULL,
	`ticket_hash` text,
	`state_hash` text NOT NULL,
	`kind` text NOT NULL,
	`server_id` text NOT NULL,
	`org_id` text NOT NULL,
	`user_id` text NOT NULL,
	`person` text,
	`scopes` text NOT NULL,
	`browser_hash` text,
	`redirect_uri` text,
	`verifier_sealed` text,
	`issuer` text,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `oauth_flows_by_ticket` ON `oauth_flows` (`ticket_hash`);--> statement-breakpoint
CREATE UNIQUE INDEX `oauth_flows_by_state` ON `oauth_flows` (`state_hash`);--> statement-breakpoint
CREATE INDEX `oauth_flows_by_expiry` ON `oauth_flows` (`expires_at`);--> statement-breakpoint
CREATE TABLE `token_disposals` (
	`token_id` text PRIMARY KEY NOT NULL,
	`version` integer NOT NULL,
	`server_id` text NOT NULL,
	`org_id` text NOT NULL,
	`user_id` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `tokens` (
	`server_id` text NOT NULL,
	`org_id` text NOT NULL,
	`user_id` text NOT NULL,
	`token_id` text NOT NULL,
	`version` integer NOT NULL,
	`expires_at` integer,
	`assumed_expiry` integer,
	`has_refresh_token` integer NOT NULL,
	`refresh_failed` integer DEFAULT false NOT NULL,
	`scopes` text NOT NULL,
	`created` integer NOT NULL,
	`modified` integer NOT NULL,
	PRIMARY KEY(`server_id`, `org_id`, `user_id`),
	FOREIGN KEY (`server_id`) REFERENCES `servers`(`server_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `tokens_by_owner` ON `tokens` (`org_id`,`user_id`);--> statement-breakpoint
ALTER TABLE `servers` ADD `grant_type` text DEFAULT 'authorization_code' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `token_endpoint_auth_method` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `oauth_found` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `scopes_found` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `oauth_resource` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `iss_required` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `oauth_config_id` text;