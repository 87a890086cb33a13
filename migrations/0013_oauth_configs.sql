CREATE TABLE `oauth_configs` (
	`oauth_config_id` text PRIMARY KEY NOT NULL,
	`mcp_client_id` text NOT NULL,
	`server_id` text,
	`status` text NOT NULL,
	`server_sealed` text,
	`client_sealed` text,
	`token_sealed` text,
	`created` integer NOT NULL,
	`expires_at` integer NOT NULL,
	FOREIGN KEY (`server_id`) REFERENCES `servers`(`server_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `oauth_configs_by_client` ON `oauth_configs` (`mcp_client_id`);--> statement-breakpoint
CREATE INDEX `oauth_configs_by_server` ON `oauth_configs` (`server_id`);--> statement-breakpoint
CREATE INDEX `oauth_configs_by_expiry` ON `oauth_configs` (`expires_at`);