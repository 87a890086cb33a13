CREATE TABLE `orgs` (
	`org_id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`created` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `virtual_key_servers` (
	`virtual_key_id` text NOT NULL,
	`server_id` text NOT NULL,
	`tools` text NOT NULL,
	PRIMARY KEY(`virtual_key_id`, `server_id`),
	FOREIGN KEY (`virtual_key_id`) REFERENCES `virtual_keys`(`virtual_key_id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`server_id`) REFERENCES `servers`(`server_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `virtual_key_servers_by_server` ON `virtual_key_servers` (`server_id`);--> statement-breakpoint
CREATE TABLE `virtual_keys` (
	`virtual_key_id` text PRIMARY KEY NOT NULL,
	`org_id` text NOT NULL,
	`name` text NOT NULL,
	`name_key` text NOT NULL,
	`description` text NOT NULL,
	`value_hash` text NOT NULL,
	`last4` text NOT NULL,
	`is_active` integer NOT NULL,
	`created` integer NOT NULL,
	`created_by` text NOT NULL,
	`modified` integer NOT NULL,
	`modified_by` text NOT NULL,
	FOREIGN KEY (`org_id`) REFERENCES `orgs`(`org_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `virtual_keys_by_hash` ON `virtual_keys` (`value_hash`);--> statement-breakpoint
CREATE UNIQUE INDEX `virtual_keys_by_name` ON `virtual_keys` (`org_id`,`name_key`);--> statement-breakpoint
CREATE TABLE `tool_calls` (
	`id` text PRIMARY KEY NOT NULL,
	`created_at` integer NOT NULL,
	`org_id` text NOT NULL,
	`server` text,
	`server_id` text,
	`tool` text NOT NULL,
	`door` text NOT NULL,
	`sub` text,
	`email` text,
	`virtual_key_id` text,
	`session_id` text,
	`run_id` text,
	`args` text,
	`ok` integer NOT NULL,
	`error` text,
	`reason` text,
	`duration_ms` integer NOT NULL,
	`upstream_ms` integer,
	`attempts` integer NOT NULL,
	`definition_hash` text
);
--> statement-breakpoint
CREATE INDEX `tool_calls_by_time` ON `tool_calls` (`org_id`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `tool_calls_by_tool` ON `tool_calls` (`org_id`,`server_id`,`tool`,`created_at`);--> statement-breakpoint
CREATE TABLE `generations` (
	`org_id` text PRIMARY KEY NOT NULL,
	`value` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `server_tools` (
	`server_id` text NOT NULL,
	`tool` text NOT NULL,
	`known` integer NOT NULL,
	`is_new` integer NOT NULL,
	`allowed` integer NOT NULL,
	`definition` text,
	`definition_hash` text,
	`approved_definition` text,
	`approved_hash` text,
	`first_seen` integer,
	`last_seen` integer,
	PRIMARY KEY(`server_id`, `tool`),
	FOREIGN KEY (`server_id`) REFERENCES `servers`(`server_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `servers` (
	`server_id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`name_key` text NOT NULL,
	`display_name` text NOT NULL,
	`connection_type` text NOT NULL,
	`server_url` text NOT NULL,
	`enabled` integer NOT NULL,
	`timeout_ms` integer,
	`auth_type` text NOT NULL,
	`config_sealed` text,
	`tool_mode` text NOT NULL,
	`allow_on_all_virtual_keys` integer NOT NULL,
	`status` text NOT NULL,
	`state` text NOT NULL,
	`last_failure` text,
	`era` text,
	`server_info` text,
	`created` integer NOT NULL,
	`created_by` text NOT NULL,
	`modified` integer NOT NULL,
	`modified_by` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `servers_by_name` ON `servers` (`name_key`);