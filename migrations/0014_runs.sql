CREATE TABLE `runs` (
	`run_id` text PRIMARY KEY NOT NULL,
	`org_id` text NOT NULL,
	`principal_id` text NOT NULL,
	`session_id` text,
	`label` text NOT NULL,
	`doctrine` text,
	`parent_run_id` text,
	`budget_nano` integer,
	`spent_nano` integer NOT NULL,
	`calls` integer NOT NULL,
	`cost_nano` integer NOT NULL,
	`outcome` text,
	`note` text,
	`started_at` integer NOT NULL,
	`finished_at` integer,
	`version` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `runs_by_age` ON `runs` (`started_at`,`run_id`);--> statement-breakpoint
CREATE INDEX `runs_by_time` ON `runs` (`org_id`,`started_at`,`run_id`);--> statement-breakpoint
CREATE INDEX `runs_by_principal` ON `runs` (`org_id`,`principal_id`,`started_at`,`run_id`);--> statement-breakpoint
CREATE INDEX `runs_open` ON `runs` (`org_id`,`started_at`,`run_id`) WHERE finished_at IS NULL;