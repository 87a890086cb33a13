CREATE TABLE `group_members` (
	`org_id` text NOT NULL,
	`group_id` text NOT NULL,
	`user_id` text NOT NULL,
	`is_admin` integer NOT NULL,
	PRIMARY KEY(`org_id`, `group_id`, `user_id`),
	FOREIGN KEY (`org_id`,`group_id`) REFERENCES `groups`(`org_id`,`group_id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`org_id`,`user_id`) REFERENCES `members`(`org_id`,`user_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `group_members_by_user` ON `group_members` (`org_id`,`user_id`);--> statement-breakpoint
CREATE TABLE `groups` (
	`org_id` text NOT NULL,
	`group_id` text NOT NULL,
	`name` text NOT NULL,
	`created` integer NOT NULL,
	PRIMARY KEY(`org_id`, `group_id`),
	FOREIGN KEY (`org_id`) REFERENCES `orgs`(`org_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `members` (
	`org_id` text NOT NULL,
	`user_id` text NOT NULL,
	`role` text NOT NULL,
	`email` text,
	`created` integer NOT NULL,
	PRIMARY KEY(`org_id`, `user_id`),
	FOREIGN KEY (`org_id`) REFERENCES `orgs`(`org_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `members_by_user` ON `members` (`user_id`);--> statement-breakpoint
ALTER TABLE `orgs` ADD `readme` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `orgs` ADD `instructions` text DEFAULT '' NOT NULL;