CREATE TABLE `instruction_revisions` (
	`org_id` text NOT NULL,
	`kind` text NOT NULL,
	`slug` text NOT NULL,
	`group_id` text NOT NULL,
	`version` integer NOT NULL,
	`title` text NOT NULL,
	`description` text NOT NULL,
	`body` text NOT NULL,
	`frontmatter` text NOT NULL,
	`set_by` text NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`org_id`, `kind`, `slug`, `group_id`, `version`),
	FOREIGN KEY (`org_id`) REFERENCES `orgs`(`org_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `instructions` (
	`org_id` text NOT NULL,
	`kind` text NOT NULL,
	`slug` text NOT NULL,
	`group_id` text NOT NULL,
	`version` integer NOT NULL,
	`title` text NOT NULL,
	`description` text NOT NULL,
	`body` text NOT NULL,
	`frontmatter` text NOT NULL,
	`set_by` text NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`org_id`, `kind`, `slug`, `group_id`),
	FOREIGN KEY (`org_id`) REFERENCES `orgs`(`org_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
ALTER TABLE `orgs` ADD `blocklist` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `orgs` ADD `forbid_attribution` integer DEFAULT true NOT NULL;