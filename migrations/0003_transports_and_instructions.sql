ALTER TABLE `servers` ADD `connection_detected` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `servers` ADD `instructions` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `approved_instructions` text;